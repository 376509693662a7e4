"""Whether a call repeats in `Mcp-Param-*` what its tool has declared (MCP 2026-07-28, SEP-2243): the program never sees a header, so who stands in front
of it as an HTTP server looks for it, as such a server must."""

import asyncio
from typing import Final

import msgspec

from gatebook.model.errors import Malformed
from gatebook.model.http import Headers
from gatebook.serve.runner import opening
from gatebook.serve.runner.process import Broken, ServerProcess
from gatebook.serve.runner.refusals import Refusal
from gatebook.wire.declared import Declarations, check_declared, declarations
from gatebook.wire.headers import MCP_PARAM
from gatebook.wire.jsonrpc import Request

LISTING_S: Final = 10.0
MOST_PAGES: Final = 100


class _Answer(msgspec.Struct):
    result: dict[str, object]


_ANSWER: Final = msgspec.json.Decoder(_Answer)


async def demand_declared(process: ServerProcess, request: Request, headers: Headers) -> None:
    """Nothing was written of `request`, and it may be. Raises Malformed(HEADER_MISMATCH).

    The program is asked for its tools when a call first needs to know, after somebody else has asked or it has said that they changed, and before
    a call is refused by what was known: what it says now counts."""
    arguments = request.params.get("arguments")
    if not arguments and not any(name.startswith(MCP_PARAM) for name, _ in headers):
        return  # nothing is repeated, and nothing needs to be
    tool = str(request.params.get("name"))
    known = process.declared is not None
    try:
        check_declared((await _declared_by(process)).get(tool, ()), arguments, headers)
    except Malformed:
        if not known:
            raise
        process.tools_may_have_changed()
        check_declared((await _declared_by(process)).get(tool, ()), arguments, headers)


async def _declared_by(process: ServerProcess) -> Declarations:
    """Empty where it does not say, and then not for good: that must not keep a call from a server that would answer it. Nor is kept what it said
    before it told of a change, though its answer is read after that."""
    async with process.declaring:
        if process.declared is not None:
            return process.declared
        changes = process.tools_changes
        try:
            async with asyncio.timeout(LISTING_S):
                found = await _listed(process)
        except (TimeoutError, Broken, Refusal):
            return {}
        if process.tools_changes == changes:
            process.declared = found
        return found


async def _listed(process: ServerProcess) -> Declarations:
    """Raises Broken, Refusal, TimeoutError."""
    found: Declarations = {}
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        result = await _page(process, cursor)
        found |= declarations(result.get("tools"))
        following = result.get("nextCursor")
        if not isinstance(following, str) or following == cursor:
            break
        cursor = following
    return found


async def _page(process: ServerProcess, cursor: str | None) -> dict[str, object]:
    exchange, inbox = await process.ask((opening.list_tools(cursor),))
    try:
        while not (delivery := await inbox.next()).last:
            pass
    finally:
        await process.leave(exchange, cancel=False)
    try:
        return _ANSWER.decode(delivery.message).result
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return {}  # an error, or nothing that lists tools
