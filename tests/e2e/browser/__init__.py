"""The desk's pages in a real Chromium, by keyboard alone: `walk` takes the steps and tells what was there."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from tests.e2e import nodejs

CHROMIUM = shutil.which("chromium") or ""
HOW_TO_INSTALL = "chromium is not installed; type: apt-get install chromium"


class Walked(msgspec.Struct, frozen=True, kw_only=True):
    """`visited`: the pages looked at; `violations`: everything the browser complained of; `url`: where the walk ended."""

    visited: list[dict[str, Any]]
    violations: list[str]
    requests: list[str]
    url: str


def walk(url: str, *steps: dict[str, str], width: int = 390, height: int = 800, scheme: str = "light") -> Walked:
    """Begin at `url` and take the steps (see walk.mjs). Raises AssertionError with the page's text where one cannot be taken."""
    asked = {"executable": CHROMIUM, "url": url, "width": width, "height": height, "scheme": scheme, "steps": steps}
    done = subprocess.run(
        [str(nodejs.node()), str(Path(__file__).with_name("walk.mjs"))],
        input=json.dumps(asked), capture_output=True, text=True, timeout=90, check=False, env=nodejs.node_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "failed" not in told, told["failed"]
    return msgspec.convert(told, Walked)


def look(shot: Path | None = None) -> dict[str, str]:
    return {"do": "look"} | ({"shot": str(shot)} if shot else {})


def tab_to(name: str) -> dict[str, str]:
    return {"do": "tab to", "name": name}


def press(key: str) -> dict[str, str]:
    return {"do": "press", "key": key}


def write(text: str) -> dict[str, str]:
    return {"do": "type", "text": text}


def arrive(url: str) -> dict[str, str]:
    return {"do": "await", "url": url}


def ask(url: str) -> dict[str, str]:
    """The browser asks for an address that begins so; whether somebody answers there is another matter."""
    return {"do": "await request", "url": url}


def go(url: str) -> dict[str, str]:
    return {"do": "go", "url": url}
