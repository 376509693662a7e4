"""`gatebook scan-secrets`: what was left behind is found, told by its place, and never shown."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gatebook.cli.app import app
from gatebook.takeover import scanning

PLANTED = {
    "github": "ghp_" + "NotARealToken" * 3,
    "header": "plain-words-as-a-secret",
    "env": "hunter2hunter2",
    "argument": "0123-not-a-key",
    "url": "query-secret-value",
    "dsn": "postgresql://app:pass-of-the-db@db.internal/shop",
    "dotenv": "dotenv-secret-value",
    "source": "xoxb-" + "1234567890-not-a-token",
    "broken": "glpat-" + "NotARealTokenAtAll00",
}


def write(root: Path, name: str, content: object) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write(
        tmp_path,
        "a/.mcp.json",
        {
            "mcpServers": {
                "git/hub": {
                    "command": "x",
                    "env": {"GITHUB_TOKEN": PLANTED["github"], "MODE": "fast", "OTHER_TOKEN": "${OTHER}"},
                },
                "remote": {
                    "url": f"https://x.example/mcp?api_key={PLANTED['url']}",
                    "headers": {"X-Api-Key": PLANTED["header"]},
                },
                "args": {
                    "command": "y",
                    "args": ["--api-key", PLANTED["argument"], "--key-file", "/etc/key", "--token", "YOUR_TOKEN"],
                },
            }
        },
    )
    write(
        tmp_path,
        "b/.vscode/mcp.json",
        '{\n // c\n "servers": {"s": {"command": "z", "env": {"DB_PASSWORD": "' + PLANTED["env"] + '"},},},\n}',
    )
    write(tmp_path, "c/config.toml", f'dsn = "{PLANTED["dsn"]}"\n')
    write(tmp_path, "c/.env", f"# old\nAPI_KEY='{PLANTED['dotenv']}'\nTOKEN=changeme\nKEY_PATH=/etc/key\n")
    write(tmp_path, "d/tool.py", f"x = 1\ntoken = '{PLANTED['source']}'\n")
    write(tmp_path, "d/broken.json", '{"a": "' + PLANTED["broken"] + '",')
    write(tmp_path, "node_modules/x/.env", "API_KEY=of-somebody-else-1\n")
    write(tmp_path, "clean/.mcp.json", {"mcpServers": {"s": {"type": "http", "url": "http://127.0.0.1:8080/s/mcp"}}})
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["scan-secrets", *words])


def found(root: Path) -> dict[tuple[str, int], dict[str, Any]]:
    result = run(str(root), "--json")
    assert result.exit_code == 1, result.output
    return {
        (str(Path(each["path"]).relative_to(root)), each["line"]): each for each in json.loads(result.stdout)["found"]
    }


def test_every_planted_credential_is_found_with_its_place(tree: Path) -> None:
    places = {place: (each["pointer"], each["kind"]) for place, each in found(tree).items()}
    assert places == {
        ("a/.mcp.json", 6): ("/mcpServers/git~1hub/env/GITHUB_TOKEN", "variable GITHUB_TOKEN"),
        ("a/.mcp.json", 12): ("/mcpServers/remote/url", "credential in a url"),
        ("a/.mcp.json", 14): ("/mcpServers/remote/headers/X-Api-Key", "header X-Api-Key"),
        ("a/.mcp.json", 21): ("/mcpServers/args/args/1", "argument --api-key"),
        ("b/.vscode/mcp.json", 3): ("/servers/s/env/DB_PASSWORD", "variable DB_PASSWORD"),
        ("c/.env", 2): (None, "variable API_KEY"),
        ("c/config.toml", 1): (None, "password in a url"),
        ("d/broken.json", 1): (None, "gitlab token"),
        ("d/tool.py", 2): (None, "slack token"),
    }


def test_no_output_holds_what_was_found(tree: Path) -> None:
    for words in ((str(tree),), (str(tree), "--json")):
        result = run(*words)
        assert result.exit_code == 1 and not any(value in result.output for value in PLANTED.values())


def test_nothing_found_is_said_and_one_file_may_be_named(tree: Path) -> None:
    assert run(str(tree / "clean")).exit_code == 0
    assert run(str(tree / "c/.env")).exit_code == 1
    assert run(str(tree / "not-there")).exit_code == 2


def test_links_pipes_and_large_files_are_not_followed_nor_waited_for(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    write(outside, "more/.env", "API_KEY=secret-of-another-place\n")
    before = len(found(tree))
    (tree / "link").symlink_to(outside)
    (tree / "c/linked.env").symlink_to(outside / "more/.env")
    os.mkfifo(tree / "c/pipe.env")
    with (tree / "c/large.env").open("wb") as file:
        file.write(b"API_KEY=secret-of-a-large-file\n")
        file.truncate(scanning.MAX_FILE_BYTES + 1)
    assert len(found(tree)) == before


def test_what_cannot_be_read_is_said(tree: Path) -> None:
    for folder in (tree, *tree.parents[:3]):
        folder.chmod(0o755)
    (tree / "d/broken.json").chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)  # root may read everything
    try:
        result = run(str(tree / "d"), "--json")
    finally:
        os.seteuid(os.getuid())
    assert result.exit_code == 1
    assert [path for path, _ in json.loads(result.stdout)["unread"]] == [str(tree / "d/broken.json")]


def test_bounds_end_a_search_and_say_so(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "MAX_FILES", 2)
    assert scanning.scan(tree).cut
