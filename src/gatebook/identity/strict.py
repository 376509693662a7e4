"""JSON that every parser must read alike: for JOSE headers, claims, key sets and discovery documents."""

import json
import math
import re
from typing import Any

MAX_DEPTH = 16
"""Deepest nesting read. Keycloak's and Kubernetes' tokens need four; a deep token only costs stack."""

# A string without its end is taken to the end of the text: to look for the next start instead would be quadratic.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)


def parse_object(raw: bytes) -> dict[str, Any]:
    """The object that `raw` (UTF-8 JSON) is. Raises ValueError, whose text never quotes the input.

    Refused where two parsers could differ: duplicate names (at any depth), NaN and Infinity, numbers beyond a double's range,
    lone surrogates, a byte order mark, nesting beyond MAX_DEPTH. RFC 7515 §4, RFC 7519 §4: duplicates need not be refused; a
    parser that takes the first and one that takes the last would see two callers.
    """
    try:
        text = raw.decode("utf-8")
        _demand_shallow(text)
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite, parse_int=_bounded_int
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate has no UTF-8 form
    except json.JSONDecodeError:
        raise ValueError("not JSON") from None
    except UnicodeError:
        raise ValueError("not UTF-8 text") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _demand_shallow(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for sign in _STRING.sub("", text):
        if sign in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError("nested too deeply")
        elif sign in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _no_constant(_: str) -> float:
    raise ValueError("a number that is not finite")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number that is not finite")
    return number


def _bounded_int(text: str) -> int:
    if len(text) > 40:
        raise ValueError("a number with too many digits")
    return int(text)
