"""What the runner itself refuses, and how it says so to the gate. Codes of our own are positive, as the gate's (gate/refusal.py)."""

from gatebook.wire import build


class Refusal(Exception):
    """A request that reached no program. `status`: of HTTP; `code`, `words`: of the JSON-RPC error."""

    def __init__(self, status: int, code: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.code = code
        self.words = words

    def body(self, message_id: bytes | None) -> bytes:
        return build.error(message_id, self.code, self.words, {})


def unknown_session() -> Refusal:
    """MCP 2025-11-25, session management: the client must begin a new session."""
    return Refusal(404, -32001, "Session not found.")


def no_session() -> Refusal:
    return Refusal(400, -32600, "Bad Request: missing session id.")


def legacy_only() -> Refusal:
    """In the words of a server of before 2026-07-28, and with no code of it: so a client of both eras falls back to `initialize`."""
    return Refusal(
        400, -32000, "Bad Request: unsupported protocol version; this server speaks revisions before 2026-07-28."
    )


def id_in_use() -> Refusal:
    return Refusal(400, -32600, "Invalid request: a request with this id is under way in this session.")


def too_many_requests(most: int) -> Refusal:
    return Refusal(503, 31, f"This server has {most} requests under way already; try again shortly.")


def too_many_processes(most: int) -> Refusal:
    return Refusal(
        503, 30, f"All {most} processes that runner.processes allows are in use; try again later, or ask the operator."
    )


def not_started(words: str) -> Refusal:
    return Refusal(503, 32, f"The server could not be started: {words}.")


def pausing(seconds: float) -> Refusal:
    return Refusal(
        503,
        33,
        f"The server failed to start and is tried again in {seconds:.0f} s; the operator's diagnostics say why.",
    )


def stopping() -> Refusal:
    return Refusal(503, 34, "The server is being stopped; try again shortly.")
