"""A server that was probed, as it is written down: its table (or a line more in the one it has), its pins, and a role."""

from pathlib import Path

import msgspec

from gatebook.config import examine_bytes, places
from gatebook.config.pins import VERSION, PinFile, PinnedForm, written
from gatebook.takeover.journal import PINS, CannotWrite, make_folder_like, replace_file, write_new_file
from gatebook.takeover.toml_text import quoted


class Addition(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written. `table`: empty where the server is configured already."""

    config: Path
    before: bytes
    server: str
    table: str
    role: str
    pins: PinFile | None
    """None: it has pins already, and what changed since is for `gatebook server pins` to show and accept."""


def pin_file(server: str, forms: dict[str, tuple[PinnedForm, ...]]) -> PinFile:
    return PinFile(version=VERSION, server=server, tools=forms)


def pins_path(config: Path, server: str) -> Path:
    return config.parent / PINS / f"{server}.json"


def text_of(addition: Addition) -> bytes:
    """gatebook.toml with it. Raises CannotWrite where it would be wrong then, and says how."""
    text = addition.before.decode()
    if text and not text.endswith("\n"):
        text += "\n"
    if not addition.table and addition.pins is not None:
        text = _with_pins(text, addition.server)
    after = (text + addition.table + addition.role).encode()
    known = set(examine_bytes(addition.before, addition.config).problems)
    mine = f"server {addition.server}: pins"  # the file that it names is written before it
    new = [
        str(each)
        for each in examine_bytes(after, addition.config).problems
        if each.severity == "error" and each not in known and each.where != mine
    ]
    shifted = {(each.what, each.mend) for each in known}
    if new := [each for each in new if not any(what in each and mend in each for what, mend in shifted)]:
        raise CannotWrite("it is not written, because: " + "; ".join(new))
    return after


def write(addition: Addition) -> None:
    """The pins first, then what names them; durable. Raises CannotWrite."""
    after = text_of(addition)
    path = pins_path(addition.config, addition.server)
    try:
        if addition.pins is not None:
            make_folder_like(path.parent, addition.config.parent)
            write_pins(path, addition.pins)
        replace_file(addition.config, addition.before, after)
    except OSError as failure:
        raise CannotWrite(f"{failure.filename or path} cannot be written: {failure.strerror}") from failure


def write_pins(path: Path, pins: PinFile) -> None:
    """The file holds these pins, durably; at no moment half of them. Raises OSError, CannotWrite."""
    content = written(pins)
    if path.exists():
        replace_file(path, path.read_bytes(), content)
    else:
        write_new_file(path, content, like=path.parent)


def _with_pins(text: str, server: str) -> str:
    """The line that names the pins, in the server's own table, where it has none."""
    examined = examine_bytes(text.encode(), Path("/gatebook.toml")).deployment
    names = [each.name for each in examined.servers] if examined is not None else []
    if server not in names:
        raise CannotWrite(f"there is no [[server]] {server}")
    found = places.lines(text)
    number = names.index(server)
    if ("server", number, "pins") in found:
        return text
    at = found.get(("server", number, "name"))
    if at is None:
        raise CannotWrite(f"the table of {server} is not found: write pins = {quoted(f'{PINS}/{server}.json')} into it")
    lines = text.splitlines(keepends=True)
    lines.insert(at, f"pins = {quoted(f'{PINS}/{server}.json')}\n")
    return "".join(lines)
