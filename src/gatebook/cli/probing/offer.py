"""What a server offers: its lists, walked to their end, in every revision that it speaks."""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import msgspec

from gatebook import __version__
from gatebook.cli.probing.speaking import START_S, Broken, Refused, Speaker, modern_params
from gatebook.wire.definitions import digest_of
from gatebook.wire.revisions import MODERN, NAMES_OF_ERA

MAX_PAGES: Final = 100
MAX_ITEMS: Final = 5_000
LISTS: Final = {
    "tools/list": "tools",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
}
Connect = Callable[[], AbstractAsyncContextManager[Speaker]]


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """One form of a tool's definition, and the revisions in which the server gives it so."""

    sha256: str
    revisions: tuple[str, ...]
    definition: dict[str, Any]


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """`revisions`: what it speaks, newest first. The lists are those of the newest. `forms`: tool → every form of its definition."""

    name: str
    version: str
    revisions: tuple[str, ...]
    tools: tuple[dict[str, Any], ...] = ()
    resources: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    forms: dict[str, tuple[Form, ...]] = {}


async def offered(connect: Connect) -> Offer:
    """Ask in each revision, `server/discover` first; each on a connection of its own. Raises Broken where it answers in none."""
    lists: dict[str, dict[str, list[dict[str, Any]]]] = {}
    said: dict[str, Any] = {}
    why: Broken | None = None
    for version in (*MODERN, *reversed(NAMES_OF_ERA["legacy"])):
        if version in lists:
            continue
        try:
            async with connect() as speaker:
                if version in MODERN:
                    info = await _discovered(speaker, version)
                    spoken = version
                else:
                    spoken, info = await _initialized(speaker, version)
                said = said or info
                if spoken not in lists:
                    lists[spoken] = await _lists(speaker, spoken)
        except Refused:
            continue
        except Broken as broken:
            why = broken
            if version not in MODERN:
                break  # a server that does not know `server/discover` may hang up on it; on `initialize` none may
    if not lists:
        raise why or Broken("it refuses every revision of MCP that Gatebook speaks")
    newest = next(iter(lists.values()))
    return Offer(
        name=_text(said.get("name")),
        version=_text(said.get("version")),
        revisions=tuple(lists),
        tools=tuple(newest["tools/list"]),
        resources=_names(newest["resources/list"], "uri"),
        templates=_names(newest["resources/templates/list"], "uriTemplate"),
        prompts=_names(newest["prompts/list"], "name"),
        forms=_forms({version: found["tools/list"] for version, found in lists.items()}),
    )


async def _discovered(speaker: Speaker, version: str) -> dict[str, Any]:
    result = await speaker.request("server/discover", modern_params(version), within_s=START_S)
    if version not in (result.get("supportedVersions") or ()):
        raise Refused(0)
    meta = result.get("_meta")
    info = meta.get("io.modelcontextprotocol/serverInfo") if isinstance(meta, dict) else None
    return info if isinstance(info, dict) else {}


async def _initialized(speaker: Speaker, version: str) -> tuple[str, dict[str, Any]]:
    client = {"name": "gatebook", "version": __version__}
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": client}
    result = await speaker.request("initialize", params, within_s=START_S)
    spoken, info = result.get("protocolVersion"), result.get("serverInfo")
    if spoken not in NAMES_OF_ERA["legacy"]:
        raise Refused(0)
    speaker.agree(spoken)
    await speaker.notify("notifications/initialized")
    return spoken, info if isinstance(info, dict) else {}


async def _lists(speaker: Speaker, version: str) -> dict[str, list[dict[str, Any]]]:
    params = modern_params(version) if version in MODERN else {}
    return {method: await _walked(speaker, method, key, params) for method, key in LISTS.items()}


async def _walked(speaker: Speaker, method: str, key: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Every page of a list. A server that does not know the method has none of it."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        try:
            result = await speaker.request(method, params if cursor is None else {**params, "cursor": cursor})
        except Refused:
            return found
        page = result.get(key)
        if not isinstance(page, list) or not all(isinstance(each, dict) for each in page):
            raise Broken(f"its answer to {method} is no list of objects")
        found += page
        following = result.get("nextCursor")
        if not isinstance(following, str) or following == cursor:
            return found
        if len(found) > MAX_ITEMS:
            break
        cursor = following
    raise Broken(f"its answers to {method} do not end: more than {MAX_PAGES} pages or {MAX_ITEMS} items")


def _names(items: list[dict[str, Any]], field: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each[field] for each in items if isinstance(each.get(field), str)))


def _forms(tools: dict[str, list[dict[str, Any]]]) -> dict[str, tuple[Form, ...]]:
    found: dict[str, dict[str, Form]] = {}
    for version, definitions in tools.items():
        for definition in definitions:
            name = definition.get("name")
            if isinstance(name, str):
                digest = digest_of(definition)
                forms = found.setdefault(name, {})
                known = forms.get(digest)
                revisions = (*known.revisions, version) if known is not None else (version,)
                forms[digest] = Form(sha256=digest, revisions=revisions, definition=definition)
    return {name: tuple(forms.values()) for name, forms in sorted(found.items())}


def _text(value: object) -> str:
    return re.sub(r"[^ -~]", "?", value)[:80] if isinstance(value, str) else ""
