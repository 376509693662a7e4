"""A request that differs from an earlier one in its id and its arguments alone, read without parsing what is the same again.

Clients build a call's message the same way each time. JSON's grammar leaves one reading of a text only: where all bytes around two values
are those of a text that was parsed strictly, and the two values are strict JSON by themselves, the whole says what it said before.
"""

import re
from typing import Any, Final

import msgspec

from gatebook.model.errors import Malformed
from gatebook.wire.jsonrpc import Request
from gatebook.wire.native import Filler, in_use
from gatebook.wire.strict_json import decode, spans, within_depth

MAX_TEMPLATE_BYTES: Final = 2 << 10

MOST_ID_BYTES: Final = 66
_PLAIN_ID = re.compile(rb'0|[1-9][0-9]{0,17}|"[ !#-\[\]-~]{0,64}"')
"""Written in one way only. Other ids are read the long way."""
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A request's bytes `before`, `between` and `after` its id and its `params.arguments`, whichever comes first, and what they say.

    `beside`: the params but for the arguments. `quick`: native code that is asked first."""

    before: bytes
    between: bytes
    after: bytes
    id_first: bool
    method: str
    beside: dict[str, Any]
    quick: Filler | None = None

    def is_alike(self, other: "Template") -> bool:
        """Whether both fit the same messages."""
        return (self.before, self.between, self.after, self.id_first) == (
            other.before,
            other.between,
            other.after,
            other.id_first,
        )


def template_of(request: Request) -> Template | None:
    """The template of a `request` that `parse_client` gave; None where it has no arguments, where its id is none that a template reads, or where what
    is the same is large."""
    body = request.raw
    if not request.arguments or _PLAIN_ID.fullmatch(request.id) is None:
        return None
    if len(body) - len(request.arguments) - len(request.id) > MAX_TEMPLATE_BYTES:
        return None
    members = spans(body, _MEMBERS.decode(body))
    start, end = members["params"]
    params = body[start:end]
    inner_start, inner_end = spans(params, _MEMBERS.decode(params))["arguments"]
    holes = sorted((members["id"], (start + inner_start, start + inner_end)))
    (first_start, first_end), (last_start, last_end) = holes
    before, between, after = body[:first_start], body[first_end:last_start], body[last_end:]
    id_first, native = holes[0] == members["id"], in_use()
    return Template(
        before=before,
        between=between,
        after=after,
        id_first=id_first,
        method=request.method,
        beside={name: value for name, value in request.params.items() if name != "arguments"},
        quick=native.Template(before, between, after, id_first) if native is not None else None,
    )


def filled(template: Template, body: bytes) -> Request | None:
    """What `parse_client(body)` gives, where `body` is the template around a plain id and other arguments. None: read it the long way, which
    also says what is wrong with it. Never raises."""
    if template.quick is not None and (found := template.quick.fill(body)) is not None:
        token, arguments, values = found
        return _request(template, body, token, arguments, values)
    if not (body.startswith(template.before) and body.endswith(template.after)):
        return None
    between = template.between
    start, end = len(template.before), len(body) - len(template.after)
    # Wherever it is cut: if both parts are values, then this is the one reading there is. Not farther from the id's end than an id is long: a caller
    # could choose a template and a body that make a search of the whole take tens of milliseconds.
    window = MOST_ID_BYTES + len(between)
    if template.id_first:
        cut = body.find(between, start, min(end, start + window))
    else:
        cut = body.rfind(between, max(start, end - window), end)
    if cut < 0:
        return None
    first, last = body[start:cut], body[cut + len(between) : end]
    token, arguments = (first, last) if template.id_first else (last, first)
    if _PLAIN_ID.fullmatch(token) is None or not (arguments.startswith(b"{") and arguments.endswith(b"}")):
        return None
    try:
        # The depth is that of the whole, two levels more than the arguments'.
        value = decode(arguments) if within_depth(body) else None
    except Malformed:
        return None
    return _request(template, body, token, arguments, value) if type(value) is dict else None


def _request(template: Template, body: bytes, token: bytes, arguments: bytes, value: dict[str, Any]) -> Request:
    params = {**template.beside, "arguments": value}
    return Request(raw=body, id=token, method=template.method, params=params, arguments=arguments)
