"""A deployment whose rooms have users of their own: root starts it, from an environment of /usr/bin/python3 that every user may read."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.gate import ISSUER_URL, config_for, free_port
from tests.e2e.life.deployed import Deployed, alive, until
from tests.e2e.life.upstream import Upstream
from tests.issuing import Issuer

UIDS = {"gate": 61001, "sealer": 61002, "desk": 61003, "runner": 61004, "meter": 61005}
"""Numbers are enough: no account of this machine is made or needed."""
SUPERVISOR = 61000
USERS = "[users]\n" + "".join(f'{room} = "{uid}"\n' for room, uid in UIDS.items())


SERVER = """
import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    if asked["method"] == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
    elif asked["method"] == "tools/call":
        result = {"content": [{"type": "text", "text": f"uid {os.getuid()}, secret of {len(open(os.environ['KEY']).read())}"}]}
    else:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "?"}}), flush=True)
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


def with_command(folder: Path) -> str:
    """A server that is a command and says whose it is, with a secret that the runner alone may read; and numbers."""
    place = folder / "server"
    place.mkdir(mode=0o755)
    (place / "server.py").write_text(SERVER)
    secret = folder / "secrets-of-commands" / "key"
    secret.parent.mkdir(mode=0o711)
    secret.write_text("k-of-the-command")
    os.chown(secret, UIDS["runner"], 0)
    secret.chmod(0o400)
    return f"""
[metrics]
listen = "127.0.0.1:{free_port()}"
[[server]]
name = "command"
command = ["/usr/bin/python3", "server.py"]
[server.run]
directory = "{place}"
sandbox = "available"
secret_files = {{ KEY = "file:{secret}" }}
[[role]]
name = "commanders"
match = [ {{ issuer = "corp", group = "everybody" }} ]
allow = [ {{ server = "command", tools = ["**"] }} ]
"""


def with_desk(port: int) -> str:
    return f"""
[desk]
listen = ["127.0.0.1:{port}"]
public_url = "http://127.0.0.1:{port}"
[[idp]]
name = "corp-idp"
url = "http://127.0.0.1:9/idp"
client_id = "gatebook"
client_secret = "literal:not-a-real-one"
"""


class Installed(Deployed):
    """A deployment of the installed Gatebook, whose rooms have users of their own. `umask`: of the shell that everything is typed in; -1: ours."""

    program: Path
    umask = -1

    def command(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        done = typed(self.program, self.directory, *arguments, umask=self.umask)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done


def typed(program: Path, directory: Path, *arguments: str, umask: int = -1) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [program, *arguments], cwd=directory, capture_output=True, text=True, timeout=100, umask=umask
    )


def prepared(folder: Path, port: int, upstream: Upstream, more: str = USERS) -> Issuer:
    """A configuration with all rooms in `folder`, and the keys of its issuer."""
    issuer = Issuer(ISSUER_URL, name="corp")
    (folder / "jwks.json").write_text(json.dumps(issuer.jwks()))
    secret = folder / "key-of-the-server"
    secret.write_text("k-never-seen\n")
    os.chown(secret, UIDS["gate"], 0)
    secret.chmod(0o400)
    config = config_for(port, {"counting": upstream.url}, more=with_desk(free_port()) + more)
    server = f'url = "{upstream.url}"\n'
    assert server in config
    (folder / "gatebook.toml").write_text(
        config.replace(server, server + f'credential = {{ secret = "file:{secret}" }}\n', 1)
    )
    return issuer


@contextlib.contextmanager
def serving(
    installed: Path,
    folder: Path,
    port: int,
    issuer: Issuer,
    prefix: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    umask: int = -1,
) -> Iterator[Installed]:
    with (folder / "gate.log").open("ab") as log:
        process = subprocess.Popen(
            [*prefix, installed / "gatebook", "serve"],
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, **(env or {})},
            umask=umask,
        )
    gate = Installed(folder, port, issuer, process)
    gate.program, gate.umask = installed / "gatebook", umask
    try:
        until(lambda: process.poll() is not None or gate.get("/readyz") == 200, "ready", 120)
        assert process.poll() is None, (folder / "gate.log").read_text()[-4000:]
        family = gate.everyone()
        yield gate
    finally:
        process.terminate()
        process.wait(60)
    until(lambda: not alive(family), "nobody is left")


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in lines)}


def rooms_of(gate: Installed) -> dict[str, list[int]]:
    return {room: gate.rooms(room) for room in UIDS}


def as_user(uid: int, *words: str | Path) -> bool:
    """Whether a process of that user, with no group but its own, can do this."""
    done = subprocess.run(words, user=uid, group=uid, extra_groups=[], capture_output=True, cwd="/", check=False)
    return done.returncode == 0
