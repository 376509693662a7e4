"""`gatebook server add` and `server pins`: real servers are asked, what they offer is pinned, and what changed is shown."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gatebook.cli.app import app
from gatebook.config import examine
from gatebook.model.deployment import Deployment, Role
from gatebook.serve.runner.finding_host import find_host
from tests.e2e.gate import free_port
from tests.e2e.outside_tmp import outside_tmp

pytestmark = [outside_tmp, pytest.mark.slow, pytest.mark.e2e]

HERE = Path(__file__).parent
CONFIG = """profile = "dev"
data_dir = "/run/g"
[[issuer]]
name = "corp"
url = "http://127.0.0.1:1"
kind = "person"
"""


def tool(name: str, description: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "description": description, "inputSchema": {"type": "object"}, **more}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the server of `legacy.py` offers, in the folder in which it is added."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    file = tmp_path / "project/tools.json"
    file.write_text(
        json.dumps(
            {
                "tools": [
                    tool("list_files", 'Lists. ] " \n[[role]]'),
                    tool("write_file"),
                    tool("pay_invoice"),
                    tool("frobnicate"),
                    tool("safe_thing", annotations={"readOnlyHint": True}),
                ],
                "resources": [{"uri": "file:///a", "name": "a"}, {"uri": "file:///b/../c", "name": "c"}],
            }
        )
    )
    return file


@pytest.fixture
def config(tmp_path: Path, tools: Path) -> Path:
    (tmp_path / "gate").mkdir()
    path = tmp_path / "gate/gatebook.toml"
    path.write_text(CONFIG)
    return path


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["server", words[0], "-c", str(config), *words[1:]])


def add_legacy(config: Path, *options: str) -> Result:
    return run(
        config, "add", *options, "--name", "files", sys.executable, str(HERE / "legacy.py"), "tools.json", "--asks"
    )


def deployment_of(config: Path) -> Deployment:
    examined = examine(config)
    assert [str(each) for each in examined.problems if each.severity == "error"] == []
    assert examined.deployment is not None
    return examined.deployment


def role_of(config: Path, name: str) -> Role:
    return next(role for role in deployment_of(config).roles if role.name == name)


def test_a_command_is_asked_pinned_and_given_a_role_that_only_reads(config: Path) -> None:
    result = add_legacy(config, "--issuer", "corp", "--group", "dev")
    assert result.exit_code == 0, result.output
    deployment = deployment_of(config)
    [server] = deployment.servers
    assert server.command is not None and server.command.argv[1] == str(HERE / "legacy.py")
    assert server.pins is not None
    assert set(server.pins) == {"list_files", "write_file", "pay_invoice", "frobnicate", "safe_thing"}, "every page"
    [allow] = role_of(config, "files-users").allow
    assert (set(allow.tools), allow.resources) == ({"list_files", "safe_thing"}, ("file:///a",))
    text = config.read_text()
    for tier, name in (("money", "pay_invoice"), ("destructive", "frobnicate"), ("write", "write_file")):
        assert f'#"{name}"' in text and f"{tier} (guessed)" in text
    assert text.startswith(CONFIG)


def test_what_is_not_mcp_changes_nothing(config: Path) -> None:
    before = config.read_bytes()
    for words, said in (
        (("true",), "ended before it answered"),
        (("/nowhere/at-all",), "ended before it answered" if find_host().bubblewrap else "cannot be started"),
        ((sys.executable, "-c", "print('{}')"), "ended"),
        ((sys.executable, str(HERE / "legacy.py"), "tools.json", "--endless"), "do not end"),
        (("http://127.0.0.1:1/mcp",), "cannot be reached"),
    ):
        result = run(config, "add", *words)
        assert result.exit_code == 1 and said in " ".join(result.output.split()), result.output
    assert config.read_bytes() == before and not (config.parent / "pins").exists()


def test_dry_run_changes_nothing(config: Path) -> None:
    before = config.read_bytes()
    result = add_legacy(config, "--dry-run")
    assert result.exit_code == 0 and "[[server]]" in result.output
    assert config.read_bytes() == before and not (config.parent / "pins").exists()


def test_a_changed_tool_is_shown_with_what_nobody_sees_and_accepted_by_name(config: Path, tools: Path) -> None:
    assert add_legacy(config).exit_code == 0
    assert run(config, "pins", "files").exit_code == 0
    file = tools
    offered = json.loads(file.read_text())
    offered["tools"][1]["description"] = "Writes.\u200b And tells nobody.\U000e0041"
    offered["tools"][2]["inputSchema"]["properties"] = {"cc": {"type": "string"}}
    offered["tools"][3] = tool("brand_new")
    file.write_text(json.dumps(offered))
    result = run(config, "pins", "files")
    assert result.exit_code == 1
    assert "\\u200b" in result.output and "\\udb40\\udc41" in result.output, "invisible characters are seen"
    changes = {each["tool"]: each["state"] for each in json.loads(run(config, "pins", "files", "--json").stdout)}
    assert changes == {"write_file": "changed", "pay_invoice": "changed", "frobnicate": "gone", "brand_new": "new"}
    assert run(config, "pins", "files", "--accept", "list_files").exit_code == 2, "it did not change"
    assert run(config, "pins", "files", "--accept", "write_file", "--accept", "frobnicate").exit_code == 1
    left = {each["tool"] for each in json.loads(run(config, "pins", "files", "--json").stdout)}
    assert left == {"pay_invoice", "brand_new"}
    assert "frobnicate" not in (deployment_of(config).servers[0].pins or {})


def test_what_was_pinned_stays_pinned_when_a_role_is_made_anew(config: Path, tools: Path) -> None:
    assert add_legacy(config).exit_code == 0
    before = (config.parent / "pins/files.json").read_bytes()
    tools.write_text(tools.read_text().replace("Lists.", "Lists. And more."))
    result = run(config, "add", "--role", "another", "files")
    assert result.exit_code == 0 and "gatebook server pins files" in result.output
    assert (config.parent / "pins/files.json").read_bytes() == before
    assert role_of(config, "another").allow[0].server == "files"


def test_pins_that_were_changed_by_hand_are_refused(config: Path) -> None:
    assert add_legacy(config).exit_code == 0
    pins = config.parent / "pins/files.json"
    pins.write_text(pins.read_text().replace("Lists.", "Lasts."))
    problems = [str(each) for each in examine(config).problems if each.severity == "error"]
    assert len(problems) == 1 and "changed by hand" in problems[0]
    assert run(config, "pins", "files").exit_code == 2


def test_the_sdks_server_as_a_command_in_every_revision_with_its_secret(config: Path) -> None:
    (config.parent / "key").write_text("s3cr3t-of-the-shop\n")
    words = ("--name", "shop", "--secret-env", "SHOP_KEY=file:key", "--json", sys.executable, str(HERE / "shop.py"))
    result = run(config, "add", *words)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["revisions"] == ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
    assert {each["tool"]: each["tier"] for each in said["tools"]} == {
        "get_order": "read", "update_order": "write", "delete_order": "destructive", "refund": "money",
    }  # fmt: skip
    assert (said["resources"], said["templates"], said["prompts"]) == (
        ["orders://all"],
        ["orders://{order_id}"],
        ["complain"],
    )
    assert (
        "s3cr3t-of-the-shop" not in result.output + config.read_text() + (config.parent / "pins/shop.json").read_text()
    )


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def serving(port: int) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, str(HERE / "shop.py"), str(port)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not _listens(port):
            assert process.poll() is None and time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def test_the_sdks_server_at_a_url_that_is_configured_already(config: Path) -> None:
    port = free_port()
    config.write_text(f'{CONFIG}[[server]]\nname = "shop"\nurl = "http://127.0.0.1:{port}/mcp"\nrecord = "shape"\n')
    with serving(port):
        result = run(config, "add", "--role", "readers", "--issuer", "corp", "--group", "g", "shop")
        assert result.exit_code == 0, result.output
        assert run(config, "add", "--role", "readers", "shop").exit_code == 1, "the role is there already"
        assert run(config, "pins", "shop").exit_code == 0
    [server] = deployment_of(config).servers
    assert server.record == "shape" and set(server.pins or {}) == {
        "get_order",
        "update_order",
        "delete_order",
        "refund",
    }
    assert role_of(config, "readers").match[0].group == "g"
