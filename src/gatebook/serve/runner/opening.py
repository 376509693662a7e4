"""The first messages that the runner itself says to a process: the probe of 2026-07-28, and the handshake where one process serves all."""

from typing import Final

import msgspec

from gatebook import __version__
from gatebook.serve.runner.talk import Delivery, Exchange, replaced
from gatebook.wire.jsonrpc import Request, parse_client
from gatebook.wire.revisions import MODERN, NAMES_OF_ERA

INITIALIZED: Final = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
_MODERN_ERRORS: Final = frozenset({-32020, -32021, -32022})
"""Errors that only a server of 2026-07-28 or later has: such a one is asked as it is, and says itself what it speaks."""


def discover() -> Request:
    return _request("server/discover", {"_meta": _META})


def initialize() -> Request:
    """Without capabilities: where a process serves everybody, nobody in particular can be asked."""
    return _request(
        "initialize", {"protocolVersion": NAMES_OF_ERA["legacy"][-1], "capabilities": {}, "clientInfo": _US}
    )


def list_tools(cursor: str | None) -> Request:
    """One page of them, as 2026-07-28 asks."""
    return _request("tools/list", {"_meta": _META} | ({"cursor": cursor} if cursor is not None else {}))


def is_modern(error_code: int) -> bool:
    return error_code in _MODERN_ERRORS


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What a process for everybody answered to our `initialize`."""

    message: bytes

    def answer(self, request: Request) -> Delivery:
        """The same answer, to a client's own."""
        exchange = Exchange(0, wants_logs=False, listens=False)
        return Delivery(exchange=exchange, message=replaced(self.message, ("id",), request.id), last=True)


_US: Final = {"name": "gatebook", "version": __version__}
_META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN[-1],
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": _US,
}


def _request(method: str, params: dict[str, object]) -> Request:
    raw = msgspec.json.encode({"jsonrpc": "2.0", "id": "gatebook", "method": method, "params": params})
    made = parse_client(raw)
    assert isinstance(made, Request)
    return made
