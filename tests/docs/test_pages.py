"""What the documents point at is there, and what they tell to type is understood."""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from gatebook.cli import reference
from tests.docs import pages
from tests.docs.pages import ROOT, Found

ALL = pages.pages()
LINKS = [link for page in ALL for link in pages.links(page) if not re.match(r"https?:|mailto:", link.text)]
COMMANDS = sorted({command for page in ALL for command in pages.commands(page)})
PATHS = sorted({path for page in ALL for path in pages.paths_of_tests(page)})
NAMES = sorted({name for page in ALL for name in pages.names_of_tests(page)})


def test_there_is_something_to_check() -> None:
    assert len(LINKS) > 50 and len(COMMANDS) > 15 and len(PATHS) > 20 and len(NAMES) > 20


@pytest.mark.parametrize("link", LINKS, ids=str)
def test_every_link_leads_somewhere(link: Found) -> None:
    target, _, anchor = link.text.partition("#")
    page = (ROOT / link.page).parent / target if target else ROOT / link.page
    assert page.exists(), f"{link.page} links to {link.text}, which is not there"
    assert not anchor or anchor in pages.anchors(page), f"{link.page} links to {link.text}, which has no such heading"


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_every_test_that_is_named_by_its_path_exists(path: Found) -> None:
    found = list(ROOT.glob(path.text.rstrip(".")))
    files = [file for each in found for file in (each.rglob("*") if each.is_dir() else [each]) if file.is_file()]
    assert files, f"{path.page} names {path.text}"


@pytest.mark.parametrize("name", NAMES, ids=str)
def test_every_test_that_is_named_exists(name: Found) -> None:
    assert name.text in existing_tests(), f"{name.page} names {name.text}"


def with_classes(module: ast.Module) -> Iterator[ast.Module | ast.ClassDef]:
    """The places where pytest looks for tests."""
    yield module
    yield from (node for node in module.body if isinstance(node, ast.ClassDef))


@cache
def existing_tests() -> frozenset[str]:
    return frozenset(
        node.name
        for file in (ROOT / "tests").rglob("*.py")
        for place in with_classes(ast.parse(file.read_text(encoding="utf-8")))
        for node in place.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ) | {file.stem for file in (ROOT / "tests").rglob("test_*.py")}


@cache
def known_commands() -> dict[str, Any]:
    return reference.commands()


def misunderstood(line: str) -> str | None:
    """What `gatebook` would not understand of a command line; None where it knows the command and every option.

    Values are not judged: they stand for something (`SESSION`, a path)."""
    words = shlex.split(line)[1:]
    commands = known_commands()
    if words and words[0] in ("--help", "--version", "-h"):
        return None
    if " ".join(words[:2]) in commands:
        words = [" ".join(words[:2]), *words[2:]]
    elif len(words) == 1 and any(name.startswith(f"{words[0]} ") for name in commands):
        return None  # the bare name of a group speaks of it
    if not words or words[0] not in commands:
        return f"no command {words[0] if words else ''!r}"
    command = commands[words[0]]
    options = {
        name: option
        for option in command.params
        if option.param_type_name == "option"
        for name in (*option.opts, *option.secondary_opts)
    }
    required = {option.opts[0] for option in options.values() if option.required}
    places = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    given: set[str] = set()
    arguments = 0
    rest = iter(words[1:])
    for word in rest:
        name, equals, _ = word.partition("=")
        if name in ("--help", "-h"):
            return None
        if not word.startswith("-"):
            arguments += 1
            if not command.context_settings.get("allow_interspersed_args", True):
                break  # what comes now belongs to another program
        elif name not in options:
            return f"gatebook {words[0]} has no {name}"
        else:
            given.add(options[name].opts[0])
            if not options[name].is_flag and not equals and next(rest, None) is None:
                return f"{name} needs a value"
    if arguments > len(places):
        return f"gatebook {words[0]} takes at most {len(places)} arguments"
    if len(words) > 1 and (arguments < sum(place.required for place in places) or required - given):
        return f"gatebook {words[0]} lacks an argument or {sorted(required - given)}"
    return None  # the bare name of a command speaks of it, and is not typed


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_every_command_line_is_understood(command: Found) -> None:
    assert misunderstood(command.text) is None


@pytest.mark.parametrize(
    "wrong",
    [
        "gatebook nosuch",
        "gatebook log --nosuch",
        "gatebook log --tool",
        "gatebook why a b",
        "gatebook why --json",
        "gatebook verify DIR",
        "gatebook check nothing",
        "gatebook server nosuch",
        "gatebook server add --nosuch x",
    ],
)
def test_a_command_line_that_is_not_understood_is_seen(wrong: str) -> None:
    assert misunderstood(wrong) is not None


def test_every_page_of_the_documentation_can_be_reached_from_an_index() -> None:
    """A page that nothing links to is read by nobody."""
    reached, open_pages = set(), [ROOT / "README.md", ROOT / "docs/README.md"]
    while open_pages:
        page = open_pages.pop()
        reached.add(page)
        for link in pages.links(page):
            target = (page.parent / link.text.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists() and target not in reached:
                open_pages.append(target)
    assert [pages.name_of(page) for page in ALL if page not in reached] == []
