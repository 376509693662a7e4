"""Values as they are written into gatebook.toml."""

import json
import re
from collections.abc import Mapping, Sequence

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def quoted(text: str) -> str:
    """A JSON string in ASCII is a basic string of TOML, too; but for DEL, which TOML wants escaped, and pairs of surrogates, which it has not."""
    escaped = json.dumps(text).replace("\x7f", "\\u007f")
    return re.sub(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", lambda pair: _one(pair[1], pair[2]), escaped)


def array(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(quoted, texts))}]"


def inline(table: Mapping[str, str]) -> str:
    """An inline table of strings."""
    return f"{{ {', '.join(f'{key(name)} = {quoted(value)}' for name, value in table.items())} }}"


def key(name: str) -> str:
    return name if _BARE.fullmatch(name) else quoted(name)


def comment(text: str, width: int = 140) -> str:
    """Lines of comment: control characters, of which TOML allows none there, and what a server chose to break lines with, are blanks."""
    words = "".join(character if character.isprintable() else " " for character in text).split()
    lines, line = [], "#"
    for word in words:
        if len(line) + 1 + len(word) > width and line != "#":
            lines.append(line)
            line = "#"
        line += f" {word}"
    return "\n".join([*lines, line]) + "\n"


def _one(high: str, low: str) -> str:
    number = 0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00)
    return f"\\U{number:08x}"
