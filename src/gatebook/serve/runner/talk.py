"""The talk with one process: whose is which line. Pure: takes messages and lines, says what is written and who gets what.

On stdio nothing tells which request a message of the server's belongs to, but for answers (by id), progress (by its token) and what a
subscription brings (by its own id). The rest goes by the rules in `_place`. A process that serves one session gets its messages as they came;
one that serves several requests of several clients (`pooled`) gets ids and progress tokens of ours, since two clients may use the same.
"""

from typing import Final, Literal

import msgspec

from gatebook.model.errors import Malformed, Reason
from gatebook.serve.runner import refusals
from gatebook.serve.runner.lines import line_of
from gatebook.wire import jsonrpc
from gatebook.wire.jsonrpc import Envelope, Message, Request, Response
from gatebook.wire.strict_json import spans

MOST_OPEN: Final = 1_024
"""Requests under way in one process, and questions of its own that await an answer."""
SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"
LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
Serving = Literal["session", "caller", "everybody"]
"""Whom a process serves: one session of before 2026-07-28, the requests of one caller, or those of all. The last two are `pooled`."""


class Exchange:
    """The requests of one POST. `answers` are still to come; `gone`: nobody waits for them any more."""

    def __init__(self, number: int, *, wants_logs: bool, listens: bool) -> None:
        self.number = number
        self.wants_logs = wants_logs
        self.listens = listens
        self.open: set[bytes] = set()
        """The ids, as the process knows them."""
        self.gone = False


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request under way. `id`, `token`: as the client wrote them; `known_token`: the progress token that the process was given."""

    exchange: Exchange
    id: bytes
    token: bytes | None
    known_token: bytes | None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message for whoever waits at `exchange`; None: for whoever listens to the session as such. `last`: nothing more comes there.
    `error_code`: of an answer that is an error."""

    exchange: Exchange | None
    message: bytes
    last: bool = False
    error_code: int | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the process, read (`read`). `readable`: as jsonrpc.readable gives it; `tagged`: it is an answer that bears the id of a subscription
    beside its own."""

    raw: bytes
    readable: bytes
    envelope: Envelope
    params: "_Params"
    tagged: bool


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """`value` where the member at `path` stands."""

    path: tuple[str, ...]
    value: bytes


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What one line of the process comes to: at most one delivery, at most one line back. Neither: it is dropped. `edits`: what must be put into the
    delivery's message before it is given to anybody (`finished`)."""

    delivery: Delivery | None = None
    reply: bytes | None = None
    edits: tuple[Edit, ...] = ()


NOTHING: Final = Heard()


class _Meta(msgspec.Struct):
    token: msgspec.Raw = msgspec.field(name="progressToken", default=msgspec.Raw())
    subscription: msgspec.Raw = msgspec.field(name=SUBSCRIPTION, default=msgspec.Raw())
    log_level: msgspec.Raw = msgspec.field(name=LOG_LEVEL, default=msgspec.Raw())


class _Params(msgspec.Struct):
    meta: _Meta = msgspec.field(name="_meta", default_factory=_Meta)
    token: msgspec.Raw = msgspec.field(name="progressToken", default=msgspec.Raw())
    request: msgspec.Raw = msgspec.field(name="requestId", default=msgspec.Raw())


class _Outside(msgspec.Struct):
    params: _Params = msgspec.field(default_factory=_Params)


class _Result(msgspec.Struct):
    result: _Params = msgspec.field(default_factory=_Params)


_RESULT: Final = msgspec.json.Decoder(_Result)
_OUTSIDE: Final = msgspec.json.Decoder(_Outside)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Talk:
    """One process's talk, from its first line to its last."""

    def __init__(self, serving: Serving) -> None:
        self._serving: Serving = serving
        self._pooled = serving != "session"
        self._count = 0
        self._asked: dict[bytes, Asked] = {}
        self._by_token: dict[bytes, Asked] = {}
        self._questions: dict[bytes, Exchange | None] = {}
        self.listened = False
        """Whether somebody listens to the session as such (GET)."""

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """Those at which somebody may wait, the oldest first."""
        found = {asked.exchange.number: asked.exchange for asked in self._asked.values() if not asked.exchange.gone}
        return tuple(exchange for _, exchange in sorted(found.items()))

    @property
    def busy(self) -> bool:
        return any(not asked.exchange.gone for asked in self._asked.values())

    def ask(self, requests: tuple[Request, ...]) -> tuple[Exchange, bytes]:
        """A new exchange, and the lines that must now be written. Raises Refusal, and then nothing may be written."""
        if len(self._asked) + len(requests) > MOST_OPEN:
            for left in {asked.exchange for asked in self._asked.values() if asked.exchange.gone}:
                self._forget(left)
        if len(self._asked) + len(requests) > MOST_OPEN:
            raise refusals.too_many_requests(MOST_OPEN)
        if not self._pooled and any(jsonrpc.plain_id(request.id) in self._asked for request in requests):
            raise refusals.id_in_use()
        self._count += 1
        outsides = [_outside(request.raw) for request in requests]
        exchange = Exchange(
            self._count,
            wants_logs=any(bytes(outside.params.meta.log_level) for outside in outsides),
            listens=any(request.method == "subscriptions/listen" for request in requests),
        )
        asking = zip(requests, outsides, strict=True)
        return exchange, b"".join(self._line(exchange, request, outside) for request, outside in asking)

    def _line(self, exchange: Exchange, request: Request, outside: _Outside) -> bytes:
        raw, key = request.raw, jsonrpc.plain_id(request.id)
        token = bytes(outside.params.meta.token) or None
        known_token = None if token is None else jsonrpc.plain_id(token)
        if self._pooled:
            self._count += 1
            key = b"%d" % self._count
            raw = replaced(raw, ("id",), key)
            if token is not None:
                raw, known_token = replaced(raw, ("params", "_meta", "progressToken"), key), key
        asked = Asked(exchange=exchange, id=request.id, token=token, known_token=known_token)
        self._asked[key] = asked
        exchange.open.add(key)
        if known_token is not None:
            self._by_token[known_token] = asked
        return line_of(raw)

    def tell(self, message: Message) -> bytes | None:
        """The line for a client's notification, or its answer to a question of the server's; None where it is not passed on: an answer
        to nothing that was asked, and in a pool what would speak for all."""
        if isinstance(message, Response):
            known = self._questions.pop(jsonrpc.plain_id(message.id), message)
            return None if known is message else line_of(message.raw)
        return None if self._pooled else line_of(message.raw)

    def drop(self, exchange: Exchange, *, cancel: bool) -> bytes:
        """Nobody waits at `exchange` any more. `cancel`: tell the process so, in the lines given back (2026-07-28: hanging up cancels)."""
        exchange.gone = True
        lines = b"".join(map(_cancelled, sorted(exchange.open))) if cancel else b""
        if self._pooled:  # an id of ours is never used twice; a client's is taken until it is answered
            self._forget(exchange)
        return lines

    def _forget(self, exchange: Exchange) -> None:
        for key in exchange.open:
            asked = self._asked.pop(key)
            if asked.known_token is not None:
                self._by_token.pop(asked.known_token, None)
        exchange.open.clear()

    def hear(self, line: Line) -> Heard:
        """What the process's line comes to. Takes no time to speak of, however long the line is: `read` and `finished` do."""
        match line.envelope.kind:
            case "response":
                return self._answer(line)
            case "request":
                return self._question(line.raw, line.envelope)
            case _:
                return self._notification(line)

    def _answer(self, line: Line) -> Heard:
        envelope = line.envelope
        key = jsonrpc.plain_id(envelope.id) if envelope.id is not None else b""
        asked = self._asked.pop(key, None)
        if asked is None:
            return NOTHING
        exchange = asked.exchange
        exchange.open.discard(key)
        if asked.known_token is not None and self._by_token.get(asked.known_token) is asked:
            del self._by_token[asked.known_token]
        if exchange.gone:
            return NOTHING
        edits: list[Edit] = []
        if self._pooled:
            edits.append(Edit(path=("id",), value=asked.id))
            if exchange.listens and line.tagged:
                edits.append(Edit(path=("result", "_meta", SUBSCRIPTION), value=asked.id))
        delivery = Delivery(exchange=exchange, message=line.raw, last=not exchange.open, error_code=envelope.error_code)
        return Heard(delivery=delivery, edits=tuple(edits))

    def _question(self, line: bytes, envelope: Envelope) -> Heard:
        """A server's own request. In a pool nobody in particular is asked, so nobody is (2026-07-28 has none)."""
        assert envelope.id is not None
        if self._pooled or len(self._questions) >= MOST_OPEN:
            return Heard(reply=_declined(envelope))
        place = self._place(lasting=False)
        self._questions[jsonrpc.plain_id(envelope.id)] = place
        return Heard(delivery=Delivery(exchange=place, message=line))

    def _notification(self, line: Line) -> Heard:
        envelope, params = line.envelope, line.params
        if envelope.method == "notifications/progress":
            return self._progress(line.raw, bytes(params.token))
        if subscription := bytes(params.meta.subscription):
            return self._subscribed(line.raw, jsonrpc.plain_id(subscription))
        if envelope.method == "notifications/cancelled" and not self._pooled:
            exchange = self._questions.pop(jsonrpc.plain_id(bytes(params.request)), None)
            return Heard(delivery=Delivery(exchange=_present(exchange), message=line.raw))
        if self._serving == "session":
            place = self._place(lasting=envelope.method != "notifications/message")
            return Heard(delivery=Delivery(exchange=place, message=line.raw))
        return self._log(line.raw) if envelope.method == "notifications/message" else NOTHING

    def _progress(self, line: bytes, token: bytes) -> Heard:
        asked = self._by_token.get(jsonrpc.plain_id(token)) if token else None
        if asked is None or asked.token is None or asked.exchange.gone:
            return NOTHING
        edits = (Edit(path=("params", "progressToken"), value=asked.token),) if self._pooled else ()
        return Heard(delivery=Delivery(exchange=asked.exchange, message=line), edits=edits)

    def _subscribed(self, line: bytes, key: bytes) -> Heard:
        asked = self._asked.get(key)
        if asked is None or asked.exchange.gone:
            return NOTHING
        edits = (Edit(path=("params", "_meta", SUBSCRIPTION), value=asked.id),) if self._pooled else ()
        return Heard(delivery=Delivery(exchange=asked.exchange, message=line), edits=edits)

    def _log(self, line: bytes) -> Heard:
        """Whoever asked for logs. Where several callers share the process, it must be plain which of them a line is about."""
        exchanges = [exchange for exchange in self.exchanges if not exchange.listens]
        if self._serving == "everybody" and len(exchanges) != 1:
            return NOTHING
        wanting = [exchange for exchange in exchanges if exchange.wants_logs]
        return Heard(delivery=Delivery(exchange=wanting[-1], message=line)) if wanting else NOTHING

    def _place(self, *, lasting: bool) -> Exchange | None:
        """What belongs to nothing in particular goes with the request begun last, whose work it most likely is. What is `lasting`, rather
        about the session than about a request, goes to whoever listens to the session, if anybody does."""
        exchanges = self.exchanges
        return None if (lasting and self.listened) or not exchanges else exchanges[-1]


def read(raw: bytes) -> Line:
    """A line of a process, read. Raises Malformed where it is no message."""
    readable = jsonrpc.readable(raw)
    parsed = jsonrpc.parse_server(readable)
    if not isinstance(parsed, Envelope):
        raise Malformed(Reason.UPSTREAM_INVALID, "a batch where none may be")
    return Line(
        raw=raw,
        readable=readable,
        envelope=parsed,
        params=_outside(readable).params if parsed.kind == "notification" else _Params(),
        tagged=parsed.kind == "response" and _tagged(readable),
    )


def finished(delivery: Delivery, edits: tuple[Edit, ...]) -> Delivery:
    """With the edits in its message. Raises Malformed where that can be read in two ways."""
    message = delivery.message
    for edit in edits:
        message = replaced(message, edit.path, edit.value)
    return msgspec.structs.replace(delivery, message=message) if edits else delivery


def replaced(text: bytes, path: tuple[str, ...], value: bytes) -> bytes:
    """`text`, a JSON object, with `value` where the member at `path` stands; every other byte as it was. Raises Malformed where a key stands
    twice on the way, or is not there."""
    try:
        start, end = spans(text, _MEMBERS.decode(jsonrpc.readable(text)))[path[0]]
    except (KeyError, ValueError, msgspec.DecodeError):
        raise Malformed(Reason.UPSTREAM_INVALID, "a message that can be read in two ways") from None
    inner = value if len(path) == 1 else replaced(text[start:end], path[1:], value)
    return text[:start] + inner + text[end:]


def _outside(raw: bytes) -> _Outside:
    """Absent where it is not what it should be: params may be anything."""
    try:
        return _OUTSIDE.decode(raw)
    except msgspec.DecodeError:
        return _Outside()


def _tagged(readable: bytes) -> bool:
    """Whether an answer bears the id of a subscription beside its own."""
    try:
        return bool(bytes(_RESULT.decode(readable).result.meta.subscription))
    except msgspec.DecodeError:
        return False


def _present(exchange: Exchange | None) -> Exchange | None:
    return exchange if exchange is not None and not exchange.gone and exchange.open else None


def _cancelled(key: bytes) -> bytes:
    return (
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b,"reason":"nobody waits for it"}}\n'
        % key
    )


def _declined(envelope: Envelope) -> bytes:
    assert envelope.id is not None
    if envelope.method == "ping":
        return b'{"jsonrpc":"2.0","id":%b,"result":{}}\n' % envelope.id
    error = b'{"code":-32601,"message":"nobody can be asked here"}'
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}\n' % (envelope.id, error)
