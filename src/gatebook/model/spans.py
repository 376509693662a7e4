"""What a trace shows of one call: when, how long, which server and method, how it ended. No value of a caller's but the id of a trace."""

import msgspec


class Span(msgspec.Struct, frozen=True, array_like=True):
    """One request that reached its server or was refused after it was read. Times in nanoseconds since the epoch, UTC.

    `trace`, `parent`: hex, of the `traceparent` that came, or of one that began here (`parent` empty). `call`: our id for it, from which the ids of the
    two spans are made. `method`: of MCP, or `other` where it is none that we know. `sent_ns`: None where nothing was sent."""

    trace: str
    parent: str
    call: str
    server: str
    method: str
    protocol: str
    started_ns: int
    ended_ns: int
    sent_ns: int | None
    answered_ns: int | None
    status: int
    refused: str | None

    @property
    def own_id(self) -> str:
        digits = self.call.replace("-", "")
        return f"{int(digits[:16], 16) ^ int(digits[16:], 16):016x}"  # its first half is mostly the time, and two calls may share that

    @property
    def upstream_id(self) -> str:
        return self.call.replace("-", "")[16:]
