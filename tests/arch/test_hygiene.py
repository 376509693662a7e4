"""What is committed works on every machine: no registry hosts, no machine's paths, pins that agree, skips with reasons."""

import ast
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LOCK_FILES = ("requirements/runtime.txt", "requirements/dev.txt", "requirements/mcp-source.txt", "package-lock.json")
# Written apart so that this file does not hold what it forbids.
REGISTRY_HOSTS = re.compile(r"pypi\.(?:org)|pythonhosted\.(?:org)|registry\.npm(?:js|mirror)|deb\.debian\.(?:org)")
MACHINE_PATHS = re.compile(r"(?<![\w.-])/(?:root|work|home/\w+|opt/(?:wheels|pypi))(?:/|\b)")


def committed_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def lines_matching(pattern: re.Pattern[str], files: list[Path]) -> Iterator[str]:
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if pattern.search(line):
                yield f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}"


def test_no_committed_file_names_a_registry_host() -> None:
    assert list(lines_matching(REGISTRY_HOSTS, committed_files())) == []


def test_no_committed_file_holds_a_path_of_one_machine() -> None:
    files = [file for file in committed_files() if file != Path(__file__)]
    assert list(lines_matching(MACHINE_PATHS, files)) == []


@pytest.mark.parametrize("name", LOCK_FILES)
def test_lock_files_say_what_to_install_and_never_where_from(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "--index-url" not in text
    assert "--find-links" not in text
    assert "file:" not in text
    assert '"resolved"' not in text


def test_every_npm_package_is_pinned_and_has_its_hash() -> None:
    manifest = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    assert all(re.fullmatch(r"\d[\w.-]*", version) for version in manifest["devDependencies"].values())
    packages = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    without = [name for name, package in packages.items() if name and not package.get("inBundle", False)]
    assert [name for name in without if "integrity" not in packages[name]] == []


@pytest.mark.parametrize("built", ["pyproject.toml", "native/pyproject.toml"])
def test_the_build_backend_is_the_pinned_one(built: str) -> None:
    [backend] = tomllib.loads((ROOT / built).read_text(encoding="utf-8"))["build-system"]["requires"]
    name, version = backend.split("==")
    assert f"{name.replace('_', '-')}=={version} " in (ROOT / "requirements/dev.txt").read_text(encoding="utf-8")


def test_the_sdk_and_its_source_package_are_of_one_version() -> None:
    pins = [
        re.search(r"^mcp==(\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        for name in ("requirements/dev.txt", "requirements/mcp-source.txt")
    ]
    assert pins[0] and pins[1] and pins[0][1] == pins[1][1]


def test_every_skip_gives_its_reason() -> None:
    silent = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in sorted((ROOT / "tests").rglob("*.py"))
        if "skip" in (text := file.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and is_silent_skip(node)
    ]
    assert silent == []


def is_silent_skip(call: ast.Call) -> bool:
    """Whether this is pytest.skip(), pytest.mark.skip() or pytest.mark.skipif() without a reason."""
    name = ast.unparse(call.func)
    reasons = [keyword for keyword in call.keywords if keyword.arg == "reason"]
    if name == "pytest.skip":
        return not (call.args or reasons)
    return name in ("pytest.mark.skip", "pytest.mark.skipif") and not reasons
