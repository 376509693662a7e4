"""Runs load.lua with the configuration on stdin (JSON; bytes as latin-1 text) and prints what it measured as one line of JSON.

Started by `bench.loading` with the interpreter of the bench's own virtual environment, which has lupa; nothing of Gatebook is imported.
"""

import json
import resource
import sys
from pathlib import Path

from lupa.luajit21 import LuaRuntime


def main() -> None:
    config = json.load(sys.stdin)
    lua = LuaRuntime(encoding=None, unpack_returned_tuples=True)
    load = lua.execute(Path(__file__).with_name("load.lua").read_bytes())
    measured = load(
        lua.table_from({key.encode(): _lua(lua, value) for key, value in config.items() if value is not None})
    )
    found = {
        key.decode(): value.decode("latin-1") if isinstance(value, bytes) else value for key, value in measured.items()
    }
    used = resource.getrusage(resource.RUSAGE_SELF)
    json.dump(found | {"cpu_s": used.ru_utime + used.ru_stime}, sys.stdout)


def _lua(lua: LuaRuntime, value: object) -> object:
    if isinstance(value, str):
        return value.encode("latin-1")
    if isinstance(value, list):
        return lua.table_from([_lua(lua, one) for one in value])
    return value


if __name__ == "__main__":
    main()
