"""HTML in which escaping cannot be forgotten: plain text is escaped when it becomes a child, only elements are `Html`."""

import html
from collections.abc import Iterable

from gatebook.cli.visible import visible

_VOID = frozenset({"meta", "br", "hr", "link"})


class Html(str):
    """Text that is already markup. Made by `element` and `raw` only."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str | bool) -> Html:
    """One element. `str` children and attribute values are made visible and escaped; `class_` is `class`, `True` a bare attribute."""
    named = "".join(_attribute(name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())
    if tag in _VOID:
        return Html(f"<{tag}{named}>")
    return Html(f"<{tag}{named}>{joined(children)}</{tag}>")


def joined(children: Iterable[str]) -> Html:
    """Children one after another, escaped where they are not `Html`."""
    return Html("".join(child if isinstance(child, Html) else text(child) for child in children))


def text(plain: str) -> Html:
    """Plain text as markup; control characters shown, line breaks kept."""
    return Html(html.escape("\n".join(visible(line) for line in plain.split("\n"))))


def raw(trusted: str) -> Html:
    """Our own constant markup or style sheet; never a value from a log."""
    return Html(trusted)


def _attribute(name: str, value: str | bool) -> str:
    if value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{text(value)}"'
