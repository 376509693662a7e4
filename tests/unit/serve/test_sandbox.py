"""The arguments, environment and limits that a server's program is started with. What a program then meets is in tests/e2e/runner."""

import resource
import shutil
from pathlib import Path

import msgspec
import pytest

from gatebook.config.problem import Problem
from gatebook.model.deployment import (
    Command,
    Credential,
    Deployment,
    Desk,
    IdentityProvider,
    SamlSide,
    SecretReference,
    Server,
)
from gatebook.model.workload import RegisteredJob
from gatebook.serve.runner import examining
from gatebook.serve.runner.places import look
from gatebook.serve.runner.sandbox import Host, Launch, NoSandbox, Places, launch, misplaced

BARE = Host(path="/usr/bin:/bin", bubblewrap=None, why_not="install bubblewrap")
HOST = Host(path="/usr/bin:/bin", bubblewrap="/usr/bin/bwrap")
OWN = "/var/lib/gatebook"


def plan(command: Command, host: Host = HOST, **places: object) -> Launch:
    where = msgspec.structs.replace(Places(own=OWN), **places)
    return launch(command, host, where, secrets={"KEY": "s3cret"}, secret_files={"FILE": b"s3cret"}, private="/private")


def server(name: str, command: Command | None = None, credential: Credential | None = None) -> Server:
    return Server(name=name, url="unix:", resource="", audiences={}, command=command, credential=credential)


def after(argv: tuple[str, ...], word: str) -> list[str]:
    """What follows each `word`."""
    return [argv[number + 1] for number, each in enumerate(argv) if each == word]


def test_no_argument_and_no_file_holds_a_secret() -> None:
    planned = plan(Command(argv=("server", "--flag")))
    assert [word for word in planned.argv if "s3cret" in word] == [] and planned.files == {}
    assert planned.handed == (b"s3cret",) and planned.environment["FILE"] == "/run/secrets/FILE"
    assert after(tuple(planned.command((7,))), "--ro-bind-data") == ["7"]


def test_an_argument_of_the_program_is_never_taken_for_one_of_bubblewrap() -> None:
    argv = ("server", "--bind", "/", "{0}", "0", "--")
    assert tuple(plan(Command(argv=argv)).command((7,)))[-len(argv) :] == argv


def test_what_was_said_of_the_nearest_path_holds() -> None:
    command = Command(argv=("server",), directory="/srv", writable=("/srv/out",))
    argv = plan(
        command, directory="/srv", writable=("/srv/out", "/tmp/in"), folders=("/srv/out/keys",), files=("/srv/env",)
    ).argv
    order = [argv.index(path) for path in ("/srv", "/srv/out", "/srv/out/keys")]
    assert order == sorted(order)
    assert argv.index("/tmp") < argv.index("/tmp/in") and argv.index("/srv") < argv.index("/srv/env")


def test_of_one_path_that_is_written_and_hidden_the_hiding_comes_last() -> None:
    argv = plan(Command(argv=("server",)), writable=("/",), folders=("/etc/gatebook",)).argv
    words = " ".join(argv)
    assert words.index("--bind / /") < words.index(f"--tmpfs {OWN}")
    assert words.index("--bind / /") < words.index("--tmpfs /etc/gatebook")


def test_whatever_it_may_write_its_processes_and_devices_are_its_own() -> None:
    words = " ".join(plan(Command(argv=("server",)), writable=("/",)).argv)
    for later in ("--proc /proc", "--dev /dev", "--tmpfs /dev/shm", "--tmpfs /tmp", "--tmpfs /run", "--ro-bind-data"):
        assert words.index("--bind / /") < words.index(later)


def test_a_directory_below_a_writable_place_is_writable() -> None:
    argv = plan(Command(argv=("server",)), directory="/srv/files", writable=("/srv",)).argv
    assert after(argv, "--chdir") == ["/srv/files"] and after(argv, "--ro-bind") == ["/"]


def test_what_may_be_written_anyway_is_not_mounted_again() -> None:
    """A server that runs could exchange it for a link until then."""
    argv = plan(Command(argv=("server",)), writable=("/srv", "/srv/out", "/srv/keys/out"), folders=("/srv/keys",)).argv
    bound = [argv[index + 1] for index, word in enumerate(argv) if word == "--bind"]
    assert bound == ["/srv", "/srv/keys/out"]


@pytest.mark.parametrize("link", ["work", "a/work"])
def test_a_link_in_a_place_that_some_server_may_write_leads_nowhere(tmp_path: Path, link: str) -> None:
    place, elsewhere = tmp_path / "place", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (place / link).parent.mkdir(parents=True)
    (place / link).symlink_to(elsewhere)
    (tmp_path / "operators").symlink_to(place)
    another = server("another", Command(argv=("x",), writable=(str(tmp_path / "operators"),)))
    deployment = deployment_of(tmp_path / "data", another)
    for path in (place / link, tmp_path / "operators" / link):
        command = Command(argv=("server",), directory=str(path))
        assert look(command, deployment).planted == (str(path),)
        assert "leads over a link" in " ".join(misplaced(command, look(command, deployment)))
    assert look(Command(argv=("server",), directory=str(tmp_path / "operators")), deployment).planted == ()


def test_memory_is_limited_as_data_and_never_as_addresses() -> None:
    for host in (HOST, BARE):
        limits = plan(Command(argv=("node",), memory_bytes=1 << 30, sandbox="available"), host).limits
        assert limits[resource.RLIMIT_DATA] == 1 << 30 and limits[resource.RLIMIT_CORE] == 0
        assert resource.RLIMIT_AS not in limits


def test_no_limit_is_asked_for_above_the_runners_own() -> None:
    host = msgspec.structs.replace(HOST, most_tasks=100)
    assert "--nproc=100:100" in plan(Command(argv=("server",), tasks=256), host).argv
    assert "--nproc=50:50" in plan(Command(argv=("server",), tasks=50), host).argv


def test_the_resolver_is_there_only_where_there_is_a_network() -> None:
    resolver = "/run/systemd/resolve/stub-resolv.conf"
    assert resolver in plan(Command(argv=("server",), network=True), resolver=resolver).argv
    assert resolver not in plan(Command(argv=("server",)), resolver=resolver).argv


MISPLACED = [
    ({"directory": f"{OWN}/scratch"}, "run.directory lies in /var/lib/gatebook"),
    ({"writable": ("/srv", OWN)}, "run.writable lies in /var/lib/gatebook"),
    ({"directory": "/tmp"}, "run.directory is /tmp, which is made anew"),
    ({"writable": ("/proc/1",)}, "run.writable is /proc/1, which is made anew"),
    ({"writable": ("/run/secrets/other",)}, "run.writable is /run/secrets/other, which is made anew"),
    ({"directory": "/etc/gatebook", "folders": ("/etc/gatebook",)}, "run.directory is /etc/gatebook"),
]


@pytest.mark.parametrize(("places", "words"), MISPLACED)
def test_a_place_that_would_be_hidden_is_refused(places: dict[str, object], words: str) -> None:
    with pytest.raises(NoSandbox, match=words):
        plan(Command(argv=("server",)), **places)


def test_a_program_in_an_empty_place_is_refused_unless_that_is_shown() -> None:
    command = Command(argv=("/tmp/build/server",))
    [fault] = misplaced(command, Places(own=OWN))
    assert fault == "the program lies in /tmp, which is empty for a server; install it elsewhere"
    assert list(misplaced(command, Places(own=OWN, directory="/tmp/build"))) == []


def test_a_missing_place_is_named() -> None:
    with pytest.raises(NoSandbox, match="/srv/gone is not there; make it"):
        plan(Command(argv=("server",), writable=("/srv/gone",)), missing=("/srv/gone",))


def secret(path: str) -> SecretReference:
    return SecretReference(scheme="file", locator=path)


def test_every_secret_of_the_configuration_is_hidden_wherever_it_lies(tmp_path: Path) -> None:
    names = "log tls desk signing recordings database client saml header command file mtls".split()
    at = {name: tmp_path / name / "secret" for name in names}
    for path in at.values():
        path.parent.mkdir()
        path.write_text("s3cret")
    deployment = Deployment(
        profile="dev", public_url="", listen=(), workers=1, data_dir=str(tmp_path / "data"), origin="",
        payload_public_key=str(tmp_path / "payloads.pub"), log_key=str(at["log"]), tls_key=str(at["tls"]),
        desk=Desk(
            listen=(), public_url="", tls_key=str(at["desk"]), signing_key=str(at["signing"]), public_keys="",
            payload_key=str(at["recordings"]), database_password=secret(str(at["database"])),
        ),
        idps=(
            IdentityProvider(name="corp", url="", client_secret=secret(str(at["client"])), saml=SamlSide(key=str(at["saml"]))),
        ),
        servers=(
            msgspec.structs.replace(
                server("one", credential=Credential(header="", template="", secret=secret(str(at["header"])))),
                client_key=str(at["mtls"]),
            ),
            server("two", Command(argv=("x",), secrets={"A": secret(str(at["command"]))}, secret_files={"B": secret(str(at["file"]))})),
        ),
        jobs=(RegisteredJob(name="job", owner="me", public_key=str(tmp_path / "jobs" / "public.pem")),),
    )  # fmt: skip
    hidden = look(Command(argv=("x",)), deployment).folders
    assert {str(path.parent) for path in at.values()} <= set(hidden)
    assert not {str(tmp_path), str(tmp_path / "jobs")} & set(hidden)


def test_a_secret_that_lies_among_much_else_is_hidden_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").write_text("s3cret")
    (tmp_path / ".ssh").mkdir()
    command = Command(argv=("x",), secrets={"A": secret(str(tmp_path / "key"))})
    places = look(command, deployment_of(tmp_path / "data", server("one", command)))
    assert str(tmp_path / "key") in places.files and str(tmp_path / ".ssh") in places.folders
    assert str(tmp_path) not in places.folders


def test_a_secret_that_this_user_cannot_even_look_for_needs_no_hiding(tmp_path: Path) -> None:
    beyond = tmp_path / ("x" * 300) / "folder" / "key"
    with pytest.raises(OSError, match="too long"):
        beyond.parent.is_dir()
    command = Command(argv=("x",), directory=str(beyond.parent), secrets={"A": secret(str(beyond))})
    places = look(command, deployment_of(tmp_path / "data", server("one", command)))
    assert [path for path in (*places.folders, *places.files) if path.startswith(str(tmp_path))] == []
    assert places.missing == (str(beyond.parent),)


def deployment_of(data_dir: Path, *servers: Server) -> Deployment:
    return Deployment(
        profile="dev", public_url="", listen=(), workers=1, data_dir=str(data_dir), origin="", servers=servers,
        payload_public_key="/nowhere/payloads.pub", log_key=str(data_dir / "log.skey"),
    )  # fmt: skip


def told(monkeypatch: pytest.MonkeyPatch, host: Host, data_dir: Path, command: Command) -> list[Problem]:
    monkeypatch.setattr(examining, "find_host", lambda: host)
    return list(examining.command_problems(deployment_of(data_dir, server("files", command)), None))


def test_check_says_best_effort_or_refuses_where_there_is_no_sandbox(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    [said] = told(monkeypatch, BARE, tmp_path, Command(argv=("sh",), sandbox="available"))
    assert (said.severity, said.where) == ("warning", "server files: run.sandbox") and said.what.startswith(
        "BEST EFFORT"
    )
    [said] = told(monkeypatch, BARE, tmp_path, Command(argv=("sh",)))
    assert said.severity == "error" and "not started: install bubblewrap" in said.what


def test_check_names_what_could_not_be_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    npx = tmp_path / "npx"
    shutil.copy("/bin/true", npx)
    command = Command(
        argv=(str(npx), "-y", "server"), directory=str(tmp_path), writable=(str(tmp_path / "data"), "/srv/gone")
    )
    (tmp_path / "data").mkdir()
    said = [str(problem) for problem in told(monkeypatch, HOST, tmp_path / "data", command)]
    assert said == [
        "server files: run: /srv/gone is not there; make it, or correct run.directory and run.writable",
        "server files: command: npx fetches what it runs, and here it has no network and no cache; install the server beforehand and run its "
        "own program (docs/runner.md)",
        f"server files: run: run.writable lies in {tmp_path / 'data'}, which no server may see; use a directory outside of data_dir",
    ]  # fmt: skip
    [said] = [str(problem) for problem in told(monkeypatch, HOST, tmp_path, Command(argv=("no-such-program",)))]
    assert said.startswith("server files: command: there is no program no-such-program")


def test_check_says_nothing_where_no_server_is_a_command(tmp_path: Path) -> None:
    assert list(examining.command_problems(deployment_of(tmp_path, server("remote")), None)) == []
