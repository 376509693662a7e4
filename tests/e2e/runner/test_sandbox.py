"""What a server's program can see and do, told by one that tries; and that nothing of it outlives who holds it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gatebook.model.deployment import Command, Credential, SecretReference, Server
from gatebook.serve.runner.launching import MARK
from gatebook.serve.runner.sandbox import NoSandbox, Places, launch
from tests.e2e import nodejs
from tests.e2e.life.deployed import alive, until
from tests.e2e.outside_tmp import outside_tmp
from tests.e2e.runner.starting import (
    HOST,
    WITHOUT,
    deployment_at,
    needs_bubblewrap,
    planned,
    probed,
    running,
    started,
)

pytestmark = [outside_tmp, pytest.mark.e2e, pytest.mark.slow]

ANY = Command(argv=("probe",))
SECRET = "s3cr3t-of-this-server"


@contextlib.contextmanager
def listening() -> Iterator[tuple[str, str]]:
    """A TCP port and an abstract Unix socket of this machine."""
    abstract = f"@gatebook-test-{uuid.uuid4().hex}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(abstract.replace("@", "\0", 1))
        unix.listen()
        yield str(tcp.getsockname()[1]), abstract


@needs_bubblewrap
async def test_it_sees_its_own_processes_and_none_besides(tmp_path: Path) -> None:
    told = await probed(ANY, deployment_at(tmp_path))
    assert len(told["processes"]) == 2 and told["processes"][0] == 1
    assert told["descriptors"] == [0, 1, 2]
    assert told["session"] != os.getsid(0)


@needs_bubblewrap
async def test_it_has_no_network_unless_it_is_asked_for(tmp_path: Path) -> None:
    with listening() as (port, abstract):
        told = await probed(ANY, deployment_at(tmp_path), {"connect": [port, abstract]})
        assert told["interfaces"] == ["lo"]
        assert set(told["connected"].values()) == {"ConnectionRefusedError"}
        asked = Command(argv=("probe",), network=True)
        assert set(
            (await probed(asked, deployment_at(tmp_path), {"connect": [port, abstract]}))["connected"].values()
        ) == {"yes"}


LISTENER = """
import socket
with socket.create_server(("127.0.0.1", 0)) as tcp:
    print(tcp.getsockname()[1], flush=True)
    tcp.accept()
"""


@needs_bubblewrap
@pytest.mark.parametrize(("network", "reached"), [(False, False), (True, True)])
async def test_a_port_that_it_opens_is_no_way_in(tmp_path: Path, network: bool, reached: bool) -> None:
    command = Command(argv=(sys.executable, "-I", "-c", LISTENER), network=network)
    async with started(planned(command, deployment_at(tmp_path))) as program:
        port = int(await program.line())
        with socket.socket() as tcp:
            assert (tcp.connect_ex(("127.0.0.1", port)) == 0) == reached


@needs_bubblewrap
async def test_it_has_no_privilege_and_no_way_to_one(tmp_path: Path) -> None:
    status = (await probed(ANY, deployment_at(tmp_path)))["status"]
    assert status["NoNewPrivs"] == "1"
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    async with started(planned(Command(argv=("unshare", "--user", "true")), deployment_at(tmp_path))) as program:
        code, _, said = await program.to_its_end()
    assert code != 0 and b"unshare failed" in said


@needs_bubblewrap
async def test_its_environment_is_what_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEFT_LYING_ABOUT", SECRET)
    command = Command(argv=("probe",), environment={"MODE": "text"})
    told = (await probed(command, deployment_at(tmp_path), secrets={"API_KEY": SECRET}))["environment"]
    assert told.pop("PWD", "/tmp") == "/tmp" and told.pop(MARK)
    assert told == {
        "PATH": HOST.path, "LANG": "C.UTF-8", "HOME": "/tmp", "TMPDIR": "/tmp", "MODE": "text", "API_KEY": SECRET,
    }  # fmt: skip


@needs_bubblewrap
async def test_gatebooks_own_places_and_other_servers_secrets_are_empty(tmp_path: Path) -> None:
    config = tmp_path / "etc" / "gatebook.toml"
    secrets = tmp_path / "secrets"
    for folder in (config.parent, secrets):
        folder.mkdir(mode=0o700)
    config.write_text("profile = 'dev'")
    (secrets / "other").write_text(SECRET)
    reference = SecretReference(scheme="file", locator=str(secrets / "other"))
    other = Server(
        name="other", url="https://other", resource="", audiences={},
        credential=Credential(header="authorization", template="{secret}", secret=reference),
    )  # fmt: skip
    deployment = deployment_at(tmp_path, servers=(other,))
    # The folder that holds them all is shown to it, for a reason of its own.
    command = Command(argv=("probe",), directory=str(tmp_path), writable=(str(tmp_path),))
    places = [deployment.data_dir, str(config.parent), str(secrets)]
    files = [str(secrets / "other"), str(config), deployment.log_key]
    # Of the gate's way to another server there is no file, and so no way, whatever network it has.
    other_socket = Path(deployment.data_dir) / "other.sock"
    with socket.socket(socket.AF_UNIX) as listening_there:
        listening_there.bind(str(other_socket))
        listening_there.listen()
        networked = msgspec.structs.replace(command, network=True)
        told = await probed(networked, deployment, {"connect": [str(other_socket)]})
    assert told["connected"] == {str(other_socket): "FileNotFoundError"}
    told = await probed(
        command, deployment, {"list": places, "read": files, "write": [*places, str(tmp_path)]}, config=config
    )
    assert told["listed"] == {place: [] for place in places}
    assert told["read"] == dict.fromkeys(files, "FileNotFoundError")
    assert told["written"].pop(str(tmp_path)) == 1 and (tmp_path / "written").exists()
    assert [path for path in places if (Path(path) / "written").exists()] == []


@needs_bubblewrap
async def test_a_secret_that_is_replaced_while_it_runs_stays_unseen(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    key = secrets / "key"
    key.write_text(SECRET)
    command = Command(
        argv=("sh", "-c", f"read -r _; cat {key}; echo ' done'"),
        directory=str(tmp_path), secrets={"KEY": SecretReference(scheme="file", locator=str(key))},
    )  # fmt: skip
    own = Server(name="own", url="unix:", resource="", audiences={}, command=command)
    async with started(planned(command, deployment_at(tmp_path, servers=(own,)))) as program:
        (secrets / "new").write_text(SECRET)
        (secrets / "new").rename(key)
        _, out, said = await program.to_its_end(b"\n")
    assert out == b" done\n" and b"No such file" in said


@needs_bubblewrap
async def test_a_configuration_in_a_folder_for_everybody_is_hidden_by_itself(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    config = tmp_path / "gatebook.toml"
    config.write_text("secret = 'literal'")
    (tmp_path / "program").write_text("beside it")
    command = Command(argv=("probe",), directory=str(tmp_path))
    told = await probed(
        command, deployment_at(tmp_path), {"read": [str(config), str(tmp_path / "program")]}, config=config
    )
    assert told["read"] == {str(config): "PermissionError", str(tmp_path / "program"): "beside it"}


@needs_bubblewrap
async def test_places_are_hidden_and_shown_through_symbolic_links_too(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    deployment = deployment_at(real)
    (tmp_path / "linked").symlink_to(real)
    (real / "files").mkdir()
    (real / "files" / "one").write_text("1")
    linked = deployment_at(tmp_path / "linked")
    command = Command(argv=("probe",), directory=str(tmp_path / "linked" / "files"))
    told = await probed(command, linked, {"list": [deployment.data_dir, "."]})
    assert told["listed"] == {deployment.data_dir: [], ".": ["one"]}
    assert told["directory"] == str(real / "files")


@needs_bubblewrap
async def test_a_link_that_a_server_made_brings_nothing_into_its_next_sandbox(tmp_path: Path) -> None:
    """Its directory lay in a place that it may write: it put a link to a folder of sockets there, and its next process reached them."""
    writable, elsewhere = tmp_path / "writable", tmp_path / "elsewhere"
    (writable / "work").mkdir(parents=True)
    elsewhere.mkdir()
    command = Command(
        argv=("probe",), directory=str(writable / "work"), writable=(str(writable), str(writable / "work"))
    )
    told = await probed(command, deployment_at(tmp_path), {"write": ["."]})
    assert told["written"]["."] == 1 and (writable / "work" / "written").exists()
    (writable / "work" / "written").unlink()
    (writable / "work").rmdir()
    (writable / "work").symlink_to(elsewhere)
    with pytest.raises(NoSandbox, match="leads over a link in a place that a server may write"):
        await probed(command, deployment_at(tmp_path), {})


@needs_bubblewrap
async def test_it_writes_where_it_may_and_into_a_tmp_of_its_own(tmp_path: Path) -> None:
    readable, writable = tmp_path / "readable", tmp_path / "writable"
    readable.mkdir()
    writable.mkdir()
    command = Command(argv=("probe",), directory=str(readable), writable=(str(writable),))
    asked = ["/", "/etc", "/dev", "/run", "/usr", str(readable), str(Path(__file__).parent)]
    told = await probed(
        command,
        deployment_at(tmp_path),
        {"list": ["/tmp", "/var/tmp", "/dev/shm"], "write": [*asked, str(writable), "/tmp"]},
    )
    assert told["listed"]["/var/tmp"] == told["listed"]["/dev/shm"] == []
    assert told["listed"]["/tmp"] == [tmp_path.relative_to("/tmp").parts[0]] if tmp_path.is_relative_to("/tmp") else []
    assert {path: told["written"][path] for path in asked} == dict.fromkeys(asked, "OSError")
    assert told["written"][str(writable)] == told["written"]["/tmp"] == 1
    assert (writable / "written").exists() and not Path("/tmp/written").exists()


@needs_bubblewrap
async def test_even_where_it_may_write_everything_it_sees_only_its_own(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    command = Command(argv=("probe",), writable=("/",), directory=str(tmp_path))
    deployment = deployment_at(tmp_path)
    told = await probed(command, deployment, {"list": [deployment.data_dir, "/dev/shm"], "write": ["/dev", "/run"]})
    assert len(told["processes"]) == 2
    assert told["listed"] == {deployment.data_dir: [], "/dev/shm": []}
    assert set(told["written"].values()) == {"OSError"}


@needs_bubblewrap
async def test_a_secret_file_is_its_own_and_no_argument_tells_of_it(tmp_path: Path) -> None:
    path = "/run/secrets/KEY_PATH"
    told = await probed(
        ANY, deployment_at(tmp_path), {"read": [path], "list": ["/run"]}, secret_files={"KEY_PATH": SECRET.encode()}
    )
    assert told["environment"]["KEY_PATH"] == path
    assert (told["read"][path], told["mode"][path], told["listed"]["/run"]) == (SECRET, "0o400", ["secrets"])
    mark = uuid.uuid4().hex
    held = planned(
        Command(argv=("sh", "-c", "echo running; sleep 60; :", mark)),
        deployment_at(tmp_path),
        secrets={"A": SECRET},
        secret_files={"B": SECRET.encode()},
    )
    async with started(held) as program:
        assert await program.line() == "running"
        arguments = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in running(mark)]
        assert arguments and not [each for each in arguments if SECRET.encode() in each]
    assert (await probed(ANY, deployment_at(tmp_path), {"list": ["/run"]}))["listed"]["/run"] == []


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    print("away", flush=True)
elif sys.argv[-1] == "ends":
    sys.stdin.readline()
    os._exit(0)
time.sleep(600)
"""
HOLDER = """
import asyncio, sys, time
from pathlib import Path
from gatebook.model.deployment import Command
from gatebook.serve.runner import launching
from tests.e2e.runner import starting

folder, host, go, *argv = sys.argv[1:]
plan = starting.planned(
    Command(argv=tuple(argv), sandbox="available", writable=(folder,)), starting.deployment_at(Path(folder)), host=getattr(starting, host), private=folder
)

async def hold():
    if go != "go":
        launching.GO = b""  # it stops where the next line is read
    async with starting.started(plan, Path(folder) / "private") as program:
        print("held" if go != "go" else await program.line(), flush=True)
        await asyncio.sleep(600)

asyncio.run(hold())
"""


@contextlib.contextmanager
def holder(folder: Path, host: str, go: str, *argv: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds a program as the runner does; the context begins when the program has told something, or is held."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), host, go, *argv], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        try:
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


@needs_bubblewrap
def test_when_who_holds_it_is_killed_even_what_left_its_session_dies(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    with holder(tmp_path, "HOST", "go", sys.executable, "-I", "-c", DAEMON, mark) as held:
        family = [pid for pid in running(mark) if pid != held.pid]
        assert len({os.getsid(pid) for pid in family}) >= 3, (
            "the sandbox has a session of its own, and its daemon another"
        )
        held.send_signal(signal.SIGKILL)
        held.wait()
        until(lambda: not alive(family), "all ended", 10)
    assert running(mark) == []


@needs_bubblewrap
async def test_when_the_program_ends_what_left_its_session_dies(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    argv = (sys.executable, "-I", "-c", DAEMON, mark, "ends")
    async with started(planned(Command(argv=argv), deployment_at(tmp_path))) as program:
        assert await program.line() == "away"
        code, _, _ = await program.to_its_end(b"\n")
        assert code == 0
        until(lambda: not running(mark), "all ended", 10)


@needs_bubblewrap
@pytest.mark.parametrize(("go", "began"), [("hold", False), ("go", True)])
def test_a_program_whose_holder_dies_before_it_begins_never_begins(tmp_path: Path, go: str, began: bool) -> None:
    mark = uuid.uuid4().hex
    with holder(tmp_path, "HOST", go, "sh", "-c", f"touch {tmp_path}/began; echo begun; sleep 600", mark) as held:
        family = [pid for pid in running(mark) if pid != held.pid]
        assert family
        held.send_signal(signal.SIGKILL)
        held.wait()
        until(lambda: not alive(family), "all ended", 10)
    assert running(mark) == [] and (tmp_path / "began").exists() == began


@needs_bubblewrap
async def test_a_node_program_starts_under_the_memory_limit_and_cannot_pass_it(tmp_path: Path) -> None:
    greedy = "const kept = []; for (;;) { kept.push(Buffer.alloc(16 << 20, 1)); console.log(kept.length * 16); }"
    command = Command(argv=(str(nodejs.node()), "-e", greedy), memory_bytes=1 << 30)
    async with started(planned(command, deployment_at(tmp_path))) as program:
        code, out, _ = await program.to_its_end()
    assert code != 0
    assert 256 < int(out.split()[-1]) < 1024


@needs_bubblewrap
async def test_files_and_processes_are_limited(tmp_path: Path) -> None:
    forks = "ulimit -n; i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); echo $i; done"
    command = Command(argv=("sh", "-c", forks), tasks=20, files=64)
    # Of root the kernel counts no processes: where the test is run as root, the program is somebody else's.
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups") if os.getuid() == 0 else ()
    plan = launch(command, HOST, Places(own="/tmp"), secrets={}, secret_files={}, private="/nonexistent")
    async with started(msgspec.structs.replace(plan, argv=(*nobody, *plan.argv))) as program:
        _, out, said = await program.to_its_end()
    files, *counted = out.split()
    assert files == b"64" and 10 < len(counted) < 20 and b"Cannot fork" in said


async def test_without_bubblewrap_it_has_its_limits_and_its_end_and_its_own_folder(tmp_path: Path) -> None:
    command = Command(argv=("probe",), sandbox="available", files=77)
    told = await probed(
        command,
        deployment_at(tmp_path),
        host=WITHOUT,
        secrets={"A": SECRET},
        secret_files={"KEY_PATH": SECRET.encode()},
    )
    assert told["status"]["NoNewPrivs"] == "1"
    environment = told["environment"]
    private = Path(environment["HOME"])
    assert environment["KEY_PATH"] == str(private / "KEY_PATH") and told["directory"] == str(private)
    assert set(environment) - {"PWD"} == {MARK, "PATH", "LANG", "HOME", "TMPDIR", "A", "KEY_PATH"}
    mark = uuid.uuid4().hex
    with holder(tmp_path, "WITHOUT", "go", "sh", "-c", "echo running; exec sleep 600", mark) as held:
        family = [pid for pid in running(mark) if pid != held.pid]
        held.send_signal(signal.SIGKILL)
        held.wait()
        until(lambda: not alive(family), "all ended", 10)


async def test_without_bubblewrap_what_demands_a_sandbox_is_not_started(tmp_path: Path) -> None:
    with pytest.raises(NoSandbox, match=r"must run in a sandbox.*install bubblewrap"):
        planned(ANY, deployment_at(tmp_path), host=WITHOUT)
