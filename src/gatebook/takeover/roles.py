"""The text of a role: commented, least privilege, to be edited. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from pydantic_core import PydanticCustomError

from gatebook.config import values
from gatebook.takeover.tiers import ORDER, Tier, tier_of
from gatebook.takeover.toml_text import comment, quoted

DESCRIPTION_CHARACTERS = 100


class Guess(msgspec.Struct, frozen=True, kw_only=True):
    """One tool and what it is thought to do. `source`: what that is guessed from."""

    tool: str
    tier: Tier
    source: str
    description: str = ""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to hold a role: an issuer's or idp's group."""

    issuer: str
    group: str


def guesses(tools: Iterable[Mapping[str, Any]]) -> tuple[Guess, ...]:
    """By tier, the harmless ones first."""
    found = []
    for tool in tools:
        if isinstance(name := tool.get("name"), str):
            tier, source = tier_of(tool)
            said = tool.get("description")
            description = said[:DESCRIPTION_CHARACTERS] if isinstance(said, str) else ""
            found.append(Guess(tool=name, tier=tier, source=source, description=description))
    return tuple(sorted(found, key=lambda guess: (ORDER.index(guess.tier), guess.tool)))


def role_of_offer(
    name: str,
    server: str,
    holder: Holder | None,
    tools: Sequence[Guess],
    resources: Sequence[str],
    templates: Sequence[str],
    prompts: Sequence[str],
) -> str:
    """A role that grants what seems only to read; all else stands beside it as a comment. Without `holder` nobody holds it."""
    head = (
        f"What {server} offers. read, write, destructive and money are guesses from names and from what the server says of itself: nobody checked them. "
        "A line in front of which the # is taken away is granted."
    )
    lines = [
        "\n",
        comment(head),
        *_head(name, holder),
        "[[role.allow]]\n",
        f"server = {quoted(server)}\n",
        "tools = [\n",
    ]
    tier = None
    for guess in tools:
        if guess.tier != tier:
            tier = guess.tier
            lines.append(f"    # --- {tier} (guessed)\n")
        mark = "" if guess.tier == "read" and literal(guess.tool) else "#"
        said = comment(f"{guess.description} [{guess.source}]", 10_000).strip()
        lines.append(f"    {mark}{quoted(guess.tool)}, {said}\n")
    lines.append("]\n")
    patterns = [_pattern(template) for template in templates]
    lines += _array(
        "resources", [uri for uri in resources if _literal_uri(uri)], [each for each in patterns if _uri_glob(each)]
    )
    lines += _array("prompts", [each for each in prompts if literal(each)], [])
    return "".join(lines)


def role_of_use(
    name: str, used: Mapping[str, Mapping[str, Mapping[str, int]]], holder: Holder | None, source: str
) -> str:
    """The smallest role that covers `used`: server → tools, resources or prompts → name → how often."""
    lines = ["\n", comment(source), *_head(name, holder)]
    for server, kinds in sorted(used.items()):
        lines += ["[[role.allow]]\n", f"server = {quoted(server)}\n"]
        for kind, names in kinds.items():
            lines.append(f"{kind} = [\n")
            for each, count in sorted(names.items()):
                known = literal(each) if kind != "resources" else _literal_uri(each)
                why = "" if known else ", and holds what a glob cannot say literally"
                lines.append(f"    {'' if known else '#'}{quoted(each)}, # {count} call(s){why}\n")
            lines.append("]\n")
    return "".join(lines)


def literal(name: str) -> bool:
    """Whether the name as a glob means itself and nothing else."""
    try:
        return "*" not in name and values.glob(name) == name
    except PydanticCustomError:
        return False


def _literal_uri(uri: str) -> bool:
    return "*" not in uri and _uri_glob(uri)


def _uri_glob(uri: str) -> bool:
    try:
        return values.uri_glob(uri) == uri
    except PydanticCustomError:
        return False


def _pattern(template: str) -> str:
    """A URI template (RFC 6570) as a glob: a variable may hold anything but a slash."""
    out, depth = "", 0
    for character in template:
        if character == "{":
            depth += 1
            out += "*" if depth == 1 else ""
        elif character == "}":
            depth = max(depth - 1, 0)
        elif depth == 0:
            out += character
    return out


def _head(name: str, holder: Holder | None) -> list[str]:
    lines = ["[[role]]\n", f"name = {quoted(name)}\n"]
    if holder is None:
        return [*lines, 'match = [] # nobody yet: { issuer = "…", group = "…" }\n']
    return [*lines, f"match = [{{ issuer = {quoted(holder.issuer)}, group = {quoted(holder.group)} }}]\n"]


def _array(key: str, granted: list[str], offered: list[str]) -> list[str]:
    if not granted and not offered:
        return []
    lines = [f"    {quoted(each)},\n" for each in granted]
    lines += [f"    #{quoted(each)}, # a guess at a template's URIs\n" for each in offered]
    return [f"{key} = [\n", *lines, "]\n"]
