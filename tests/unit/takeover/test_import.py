"""`gatebook import`: the files of five clients, before, after, and undone; and what stays as it is, with the reason."""

import json
import shutil
import stat
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gatebook.cli.app import app
from gatebook.config import examine
from gatebook.model.deployment import Deployment

FILES = Path(__file__).parents[2] / "vectors/clients"
CONFIG = '# ours\nprofile = "dev"\ndata_dir = "/run/g"\n[log]\norigin = "localhost/dev"\n'

PLACES = {
    "claude-code": ".mcp.json",
    "claude-desktop": "claude_desktop_config.json",
    "vscode": ".vscode/mcp.json",
    "cursor": ".cursor/mcp.json",
    "windsurf": ".codeium/windsurf/mcp_config.json",
}
SECRETS = {
    "claude-code": {
        "github-github-personal-access-token": "ghp_NotARealToken00000000000000000000000",
        "postgres-url": "postgresql://app:hunter2hunter2@db.internal:5432/shop",
    },
    "claude-desktop": {
        "brave-search-brave-api-key": "BSAnotarealkey0000000000000",
        "tickets-authorization": "tick-not-a-real-token-1",
    },
    "vscode": {"figma-x-figma-token": "figd_NotARealToken_000000000000000000000000"},
    "cursor": {
        "slack-slack-mcp-xoxp-token": "xoxp-not-a-real-token-000000",
        "internal-api-key": "internal-Key-9931",
        "internal-db-password": "from the file",
    },
    "windsurf": {"stripe-api-key": "sk_test_NotARealKey00000000000"},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, and beside it Gatebook's."""
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate/gatebook.toml").write_text(CONFIG)
    (tmp_path / "gate/gatebook.toml").chmod(0o640)
    project = tmp_path / "project"
    (project / "tools").mkdir(parents=True)
    (project / "tools/internal_mcp.py").write_text("")
    (project / ".env").write_text("# of the server\nexport DB_PASSWORD='from the file'\nLOG=info\n")
    for client, name in PLACES.items():
        file = project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FILES / f"{client}.before.json", file)
        file.chmod(0o604)
    monkeypatch.setenv("BUILD_LOG_LEVEL", "debug")
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/local/bin/gatebook")
    return tmp_path


def run(place: Path, file: str, *options: str) -> Result:
    return CliRunner().invoke(
        app, ["import", str(place / "project" / file), "-c", str(place / "gate/gatebook.toml"), *options]
    )


def options_of(client: str) -> tuple[str, ...]:
    return ("--input", "perplexity-key=file:secrets/perplexity") if client == "vscode" else ()


def tree(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


def deployment_of(place: Path) -> Deployment:
    examined = examine(place / "gate/gatebook.toml")
    assert examined.deployment is not None
    assert [str(each) for each in examined.problems if each.severity == "error"] == []
    return examined.deployment


@pytest.mark.parametrize("client", PLACES)
def test_a_clients_file_keeps_the_gates_urls_and_no_secret(place: Path, client: str) -> None:
    before = tree(place)
    result = run(place, PLACES[client], *options_of(client))
    assert result.exit_code == 0, result.output
    file = place / "project" / PLACES[client]
    assert file.read_text() == (FILES / f"{client}.after.json").read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o604
    secrets = {path.name: path for path in (place / "gate/secrets").iterdir()}
    assert {name: path.read_text() for name, path in secrets.items()} == {
        name: f"{value}\n" for name, value in SECRETS[client].items()
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in (place / "gate/secrets").iterdir()} == {0o600}
    config = (place / "gate/gatebook.toml").read_text()
    assert config.startswith(CONFIG) and stat.S_IMODE((place / "gate/gatebook.toml").stat().st_mode) == 0o640
    for value in SECRETS[client].values():
        assert value not in config and value not in file.read_text() and value not in result.output
    assert len(deployment_of(place).servers) == len(json.loads(run(place, PLACES[client], "--json").stdout)["servers"])

    again = tree(place)
    assert run(place, PLACES[client]).exit_code == 0
    assert tree(place) == again, "a second import changes nothing"

    undone = run(place, PLACES[client], "--undo")
    assert undone.exit_code == 0, undone.output
    assert tree(place) == before


def test_each_server_is_what_its_client_said(place: Path) -> None:
    for client, name in PLACES.items():
        assert run(place, name, *options_of(client)).exit_code == 0
    deployment = deployment_of(place)
    servers = {server.name: server for server in deployment.servers}
    assert set(servers) == {
        "github", "sentry", "postgres", "filesystem", "brave-search", "tickets", "playwright", "perplexity", "figma", "build", "linear",
        "slack", "internal", "notion", "stripe",
    }  # fmt: skip

    sentry = servers["sentry"].credential
    assert sentry is not None and servers["sentry"].url == "https://mcp.sentry.example/mcp"
    assert (sentry.header, sentry.template) == ("Authorization", "Bearer {secret}")
    assert (sentry.secret.scheme, sentry.secret.locator) == ("env", "SENTRY_TOKEN")
    assert servers["tickets"].url == "https://tickets.example/mcp", "mcp-remote was only the way there"
    notion = servers["notion"].credential
    assert notion is not None and notion.secret.locator == "/run/secrets/notion-token"
    figma = servers["figma"].credential
    assert figma is not None and (figma.header, figma.template) == ("X-Figma-Token", "{secret}")

    github = servers["github"].command
    assert github is not None and github.argv == ("npx", "-y", "@modelcontextprotocol/server-github")
    assert github.environment == {"GITHUB_TOOLSETS": "repos,issues"} and github.network
    assert set(github.secrets) == {"GITHUB_PERSONAL_ACCESS_TOKEN"}
    filesystem = servers["filesystem"].command
    assert filesystem is not None and filesystem.argv[-1] == "/srv/files" and not filesystem.secrets
    postgres = servers["postgres"].command
    assert postgres is not None
    assert postgres.argv == ("sh", "-c", 'exec uvx postgres-mcp --access-mode=restricted --url "$URL"')
    build = servers["build"].command
    assert build is not None and build.argv == (str(place / "project/tools/build-mcp"), "--log", "debug")
    perplexity = servers["perplexity"].command
    assert perplexity is not None
    assert perplexity.secrets["PERPLEXITY_API_KEY"].locator == str(place / "gate/secrets/perplexity")
    internal = servers["internal"].command
    assert internal is not None and internal.directory == str(place / "project")
    assert internal.environment == {"LOG": "info"} and set(internal.secrets) == {"DB_PASSWORD", "API_KEY"}


def write(place: Path, servers: object, file: str = ".mcp.json") -> None:
    (place / "project" / file).write_text(json.dumps({"mcpServers": servers}))


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ({"type": "sse", "url": "https://x.example/sse"}, "HTTP+SSE"),
        ({"url": "https://x.example/mcp", "headersHelper": "/bin/helper"}, "headersHelper"),
        ({"url": "https://x.example/mcp", "headers": {"A-Key": "1", "B-Key": "2"}}, "several headers"),
        ({"url": "https://x.example/mcp?api_key=s3cr3tvalue99"}, "URL holds"),
        ({"url": "https://user:s3cr3tvalue99@x.example/mcp"}, "URL holds"),
        ({"url": "https://x.example"}, "no path"),
        ({"url": "https://x.example/mcp", "command": "x"}, "both"),
        ({"headers": {}}, "neither"),
        ({"command": "x", "args": [1]}, "no strings"),
        ({"command": "x", "env": {"T": "a${UNSET_ANYWHERE}b"}}, "UNSET_ANYWHERE"),
        ("x", "no object"),
    ],
)
def test_what_cannot_be_taken_over_stays_and_says_why(place: Path, server: object, why: str) -> None:
    write(place, {"odd": server, "good": {"command": "true"}})
    before = json.loads((place / "project/.mcp.json").read_text())
    result = run(place, ".mcp.json")
    assert result.exit_code == 1 and why in " ".join(result.output.split())
    assert "s3cr3tvalue99" not in result.output
    after = json.loads((place / "project/.mcp.json").read_text())
    assert after["mcpServers"]["odd"] == before["mcpServers"]["odd"]
    assert after["mcpServers"]["good"]["url"] == "http://127.0.0.1:8080/good/mcp"
    assert [server.name for server in deployment_of(place).servers] == ["good"]


def test_what_pci_forbids_stays(place: Path) -> None:
    config = place / "gate/gatebook.toml"
    config.write_text('public_url = "https://mcp.example.com"\nlisten = ["unix:/run/g.sock"]\ndata_dir = "data"\n')
    write(place, {"plain": {"url": "http://x.example/mcp"}, "good": {"url": "https://x.example/mcp"}})
    result = run(place, ".mcp.json")
    assert result.exit_code == 1 and "is not encrypted" in result.output
    assert "plain" not in config.read_text() and 'name = "good"' in config.read_text()


def test_an_input_that_nobody_says_leaves_its_server(place: Path) -> None:
    result = run(place, ".vscode/mcp.json")
    assert result.exit_code == 1 and "--input perplexity-key=file:PATH" in result.output
    assert "${input:perplexity-key}" in (place / "project/.vscode/mcp.json").read_text()


@pytest.mark.parametrize("wrong", ["key", "key=literal:abcdef", "key=/run/x"])
def test_an_input_that_is_no_reference_is_refused(place: Path, wrong: str) -> None:
    assert run(place, ".vscode/mcp.json", "--input", wrong).exit_code == 2


def test_two_clients_share_a_server_and_undoing_one_keeps_the_others(place: Path) -> None:
    same = {"github": {"command": "npx", "args": ["-y", "gh"], "env": {"GH_TOKEN": "gho_the-same-secret"}}}
    write(place, same)
    write(place, same, ".cursor/mcp.json")
    write(
        place,
        {"github": {"command": "npx", "args": ["-y", "gh"], "env": {"GH_TOKEN": "gho_another-secret"}}},
        ".codeium/windsurf/mcp_config.json",
    )
    before = tree(place)
    for file in (".mcp.json", ".cursor/mcp.json", ".codeium/windsurf/mcp_config.json"):
        assert run(place, file).exit_code == 0
    assert [server.name for server in deployment_of(place).servers] == ["github", "github-2"]
    assert "/github/" in (place / "project/.cursor/mcp.json").read_text()
    assert "/github-2/" in (place / "project/.codeium/windsurf/mcp_config.json").read_text()
    for file in (".codeium/windsurf/mcp_config.json", ".cursor/mcp.json", ".mcp.json"):
        undone = run(place, file, "--undo")
        assert undone.exit_code == 0, undone.output
    assert tree(place) == before


def test_undo_leaves_what_came_after_it(place: Path) -> None:
    assert run(place, ".mcp.json").exit_code == 0
    config = place / "gate/gatebook.toml"
    config.write_text(config.read_text() + '\n[[server]]\nname = "later"\nurl = "http://127.0.0.1:1/mcp"\n')
    assert run(place, ".mcp.json", "--undo").exit_code == 0
    assert [server.name for server in deployment_of(place).servers] == ["later"]


@pytest.mark.parametrize("which", ["client", "tables"])
def test_undo_refuses_where_something_would_be_lost(place: Path, which: str) -> None:
    assert run(place, ".mcp.json").exit_code == 0
    file = place / ("project/.mcp.json" if which == "client" else "gate/gatebook.toml")
    file.write_text(file.read_text().replace("github", "renamed"))
    before = tree(place)
    undone = run(place, ".mcp.json", "--undo")
    assert undone.exit_code == 1 and "changed since" in undone.output
    assert tree(place) == before


def test_dry_run_changes_nothing_and_shows_the_tables(place: Path) -> None:
    before = tree(place)
    result = run(place, ".mcp.json", "--dry-run")
    assert result.exit_code == 0 and "[[server]]" in result.output and "hunter2" not in result.output
    assert tree(place) == before


def test_nothing_is_written_where_something_stands_in_the_way(place: Path) -> None:
    (place / "gate/secrets").symlink_to("/nowhere")
    before = (place / "project/.mcp.json").read_bytes(), (place / "gate/gatebook.toml").read_bytes()
    assert run(place, ".mcp.json").exit_code == 1
    assert ((place / "project/.mcp.json").read_bytes(), (place / "gate/gatebook.toml").read_bytes()) == before


def test_a_link_to_the_clients_file_stays_a_link(place: Path) -> None:
    real = place / "dotfiles.json"
    shutil.move(place / "project/.cursor/mcp.json", real)
    (place / "project/.cursor/mcp.json").symlink_to(real)
    assert run(place, ".cursor/mcp.json", "--client", "cursor").exit_code == 1, "its relative paths mean nothing there"
    assert (place / "project/.cursor/mcp.json").is_symlink() and "8080/slack/mcp" in real.read_text()


@pytest.mark.parametrize("text", ["{", "[1,]x", '{"mcpServers": {"a": {}, "a": {}}}', "\ufeff{}x", '"\\x"'])
def test_what_is_no_json_is_refused(place: Path, text: str) -> None:
    (place / "project/.mcp.json").write_text(text)
    result = run(place, ".mcp.json")
    assert result.exit_code == 1 and "is no JSON" in result.output


def test_whose_file_it_is_must_be_known(place: Path) -> None:
    (place / "project/other.json").write_text('{"mcpServers": {"a": {"command": "true"}}}')
    assert "--client" in run(place, "other.json").output
    assert run(place, "other.json", "--client", "windsurf").exit_code == 0


def test_a_settings_file_keeps_all_else(place: Path) -> None:
    file = place / "project/.vscode/settings.json"
    file.write_text(
        '{\r\n  // mine\r\n  "editor.tabSize": 2,\r\n  "mcp": {"servers": {"a": {"command": "true", "args": []}}}\r\n}\r\n'
    )
    assert run(place, ".vscode/settings.json").exit_code == 0
    assert file.read_bytes().startswith(b'{\r\n  // mine\r\n  "editor.tabSize": 2,\r\n  "mcp": {"servers": {"a": {\r\n')
    assert b"\n" not in file.read_bytes().replace(b"\r\n", b"")


def test_every_project_of_a_persons_own_file_is_taken_over(place: Path) -> None:
    server = {"type": "stdio", "command": "true", "args": []}
    content = {
        "mcpServers": {"a": server},
        "numStartups": 3,
        "projects": {"/srv/x": {"mcpServers": {"b": {**server, "args": ["b"]}}}},
    }
    file = place / "project/.claude.json"
    file.write_text(json.dumps(content))
    assert run(place, ".claude.json").exit_code == 0
    after = json.loads(file.read_text())
    assert after["projects"]["/srv/x"]["mcpServers"]["b"]["url"] == "http://127.0.0.1:8080/b/mcp"
    assert after["mcpServers"]["a"]["url"] == "http://127.0.0.1:8080/a/mcp" and after["numStartups"] == 3


def test_names_and_texts_of_a_client_stay_inside_their_quotes(place: Path) -> None:
    nasty = 'x"\n[[role]]\nname = "evil'
    write(place, {nasty: {"command": nasty, "args": [nasty, "\u007f\U0001f512"], "env": {"A": nasty}}})
    run(place, ".mcp.json")
    deployment = deployment_of(place)
    assert not deployment.roles
    for server in deployment.servers:
        assert server.command is not None and server.command.argv[1:] == (nasty, "\u007f\U0001f512")


@pytest.mark.parametrize(
    "fields",
    [{"url": "x", "env": 1}, {"command": 5}, {"command": "x", "args": "y"}, {"command": "x", "env": {"A": []}}],
)
def test_shapes_that_no_client_writes_are_no_crash(place: Path, fields: object) -> None:
    write(place, {"odd": fields})
    result = run(place, ".mcp.json")
    assert result.exit_code == 1 and not isinstance(
        result.exception, (AttributeError, TypeError, KeyError, AssertionError)
    )
