"""The speed-up, `gatebook_speed` (native/): used where it is installed, wanted, and gives what Python gives: for records, and for what is read."""

import functools
import itertools
import os
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from gatebook.ledger.entry import Clocked, Pay, Written, compose
from gatebook.ledger.gist import Gist, read_gist, reading_with
from gatebook.ledger.payload import SALT_BYTES, SessionKey
from gatebook.ledger.scribe import Quick, Scribe
from gatebook.model.errors import Malformed, Reason
from gatebook.model.finding import Finding
from gatebook.model.record import Asked, Draft, Origin, Payload, PolicyRef, Resource, Who
from gatebook.model.secret import Secret

if TYPE_CHECKING:
    from gatebook.ledger import gist
    from gatebook.masking import prefilter
    from gatebook.wire.native import Native

PURE: Final = "GATEBOOK_PURE"
"""With this variable of the environment set (and not 0), nothing but Python composes records and reads requests."""
_CLASSES: Final = (Draft, Who, Origin, Resource, PolicyRef, Asked, Payload, Finding, Clocked)
_UNIX_US: Final = 1_795_000_000_000_000
_SESSION: Final = "0123456789abcdef" * 2
_TEXTS: Final = (
    b'{"a":1,"b":[true,false,null,-7,"c",{}],"d":{"e":[]}}', b' [ 0 , "\xc3\xa9" ]\n', b"999999999999999999", b'"a"',
    b'{"a":1,"a":1}', b"-0", b"01", b"1.0", b"1e2", b'"\\u0041"', b'"\xff"', b'"\xed\xa0\x80"', b"1 2", b"[1,]", b'{"a"}', b'"\n"', b"", b"[",
    b"[" * 64 + b"]" * 64, b"[" * 65 + b"]" * 65, b"\xef\xbb\xbf1", b"NaN", b"1" * 19,
)  # fmt: skip
"""The first four and the deepest are read natively; of the others, none may be read otherwise than Python reads it."""
_RESULTS: Final = (
    b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"%b\\n\\u00e9"}],"isError":true,"resultType":"task"}}' % (b'\\"x\\\\' * 40),
    b'{"result":{"a":[-1.5e+3,{},[]],"b":null},"jsonrpc":"2.0","id":"a-1"}\n', b' { "id" : 0 , "result" : { } , "jsonrpc" : "2.0" } ',
    b'{"jsonrpc":"2.0","id":1,"result":{},"id":1}', b'{"jsonrpc":"2.0","id":1,"result":{"a":"\xff"}}', b'{"jsonrpc":"2.0","id":1,"result":{"a":"\\ud800"}}',
    b'{"jsonrpc":"2.0","id":1,"result":{"a":01}}', b'{"jsonrpc":"2.0","id":1,"result":{},"ID":2}', b'{"jsonrpc":"2.0","id":1,"result":{"a":"\n"}}',
    b'{"jsonrpc":"2.0","id":1,"result":{"isError":false,"isError":true}}', b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}',
    b'{"jsonrpc":"2.0","id":1,"result":{"a":"%b\\"}}' % (b"x" * 63), b'{"jsonrpc":"1.0","id":1,"result":{}}', b'{"jsonrpc":"2.0","id":1,"result":{}',
)  # fmt: skip
"""The same of servers' results: the first three are read natively."""
_CALL: Final = b'{"jsonrpc":"2.0","id":%b,"method":"tools/call","params":{"name":"x","arguments":%b}}'
_SEQUENCES: Final = (
    b"aBcDeF", b"ab", b"7fe", b"fe", b"4" * 16, b"*x5", b"\xff\x80\xff", b"abcdeg", b"4" * 15, b"4" * 9 + b"x" + b"4" * 16, b"\x7f\x80\xff",
)  # fmt: skip
_SIEVED: Final = (
    b"4111111111111111", b"4111111111111112", b"4111111111111112.", b".4111111111111112", b"\\u00414111111111111112", b"\\u00ab4111111111111112",
    b"\\n4111111111111112", b"36000000000008", b"41111111111111111113", b"4" + b"1" * 63, b"4" + b"1" * 64, b"4", b"a4e1", b"\\n4e1", b'"444e1',
    b"-4e1", b"a-4e1", b"4-4e1", b"\\u00e94e1", b"\\u00ae-4e1", b".4e1", b":4e1", b"a" + b"4" * 65 + b"e1", b"de52abcd", b"de52abc", b"\\de52abcd",
    b"Xde52abcd", b"de52abcdG", b"4111-1111-1111-1111", b"5555 - 5555 - 5555 - 4444", b"30569309025904", b"4111111111111111110", b"\\4111",
    b"\\.4111", b"2222_4111.1111", b"4111    1111 1111 1111", b"4111.1111 1111\\t", b"\\t 411", b"411" + b"\\" * 16, b"411" + b"\\" * 15 + b"u",
    b"411 -\\", b"1 " * 31 + b"411", b"1 " * 32 + b"411", b"411" + b" 1" * 31, b"\\u00ab.411", b"-de52" + b"a" * 60, b"-de52" + b"a" * 61,
    b"De52abcd", b"de520bcd", b"-de35f000-",
)  # fmt: skip
"""What native code looks at as Python says: first for sequences of bytes, then for numbers, exponents and names of data elements."""


class SpeedUp(msgspec.Struct, frozen=True, kw_only=True):
    """`composer`: the class that makes a `Quick`; None where records are composed in Python. `refused`: it is there, and must not be used.
    `module`: where it comes from."""

    words: str
    composer: Any = None
    refused: bool = False
    module: Any = None


@functools.cache
def speed_up() -> SpeedUp:
    """What this process composes records with, settled once."""
    if os.environ.get(PURE, "0") not in ("", "0"):
        return SpeedUp(words=f"in Python: {PURE} is set")
    try:
        import gatebook_speed
    except ModuleNotFoundError:
        return SpeedUp(words="in Python: gatebook-speed is not installed")
    except ImportError as error:
        return SpeedUp(words=f"in Python: gatebook-speed cannot be loaded: {error}", refused=True)
    return judged(gatebook_speed)


def judged(module: Any) -> SpeedUp:
    """Its composer is used where all that it makes of known drafts is what Python makes: no byte of a log is written by one that errs."""
    version = str(module.VERSION)
    try:
        sound = _agrees(module.Composer)
    except Exception:  # whatever it is: Python does the same, and the log must not hang on this
        sound = False
    if sound:
        return SpeedUp(words=f"in C: gatebook-speed {version}", composer=module.Composer, module=module)
    return SpeedUp(words=f"in Python: gatebook-speed {version} gives other bytes than Python, or none", refused=True)


@functools.cache
def reader() -> "Native | None":
    """What this process reads requests with, for `wire.native.use`; None where Python does, also because it was found to read otherwise."""
    module = speed_up().module
    try:
        return cast("Native", module) if module is not None and _reads_alike(module) else None
    except Exception:  # as above
        return None


@functools.cache
def looker() -> "prefilter.Native | None":
    """What this process looks first with at what may be card data, for `masking.trigger.look_first_with`; None where RE2 does it alone, also because
    this machine is such that nothing would be won, or because it was found to rule out what is there."""
    module = speed_up().module
    try:
        right = module is not None and module.PREFILTERS and _looks_alike(module)
    except Exception:  # as above
        right = False
    return cast("prefilter.Native", module) if right else None


@functools.cache
def gists() -> "gist.Native | None":
    """What this process reads entries with, for `ledger.gist.reading_with`; None where Python does, also because it was found to read otherwise."""
    module = speed_up().module
    try:
        return cast("gist.Native", module) if module is not None and _reads_entries_alike(module) else None
    except Exception:  # as above
        return None


def _reads_entries_alike(module: Any) -> bool:
    """Of a known entry, which has each member, what Python reads; of each text that differs from it by a byte that is gone, there twice or
    another one, the same or nothing."""
    writer = ("gate-0", "01a2000000000badc0de")
    leaf, read = _known_leaf(*writer), reading_with(module)
    if module.gist(leaf, *writer) is None or module.gist(leaf, *reversed(writer)) is not None:
        return False
    for at in range(-1, len(leaf) + 1):
        for other in (b"", leaf[at : at + 1] * 2, b"0", b'"', b"\\", b"\x80", b"\n"):
            text = leaf if at < 0 else leaf[:at] + other + leaf[at + 1 :]
            if module.gist(text, *writer) is not None and not _is_gist(read(text, writer)):
                return False
    return True


def _is_gist(found: Gist) -> bool:
    try:
        return read_gist(found.leaf) == found
    except ValueError:
        return False


def _known_leaf(writer: str, epoch: str) -> bytes:
    intent, result, *_ = _known_drafts()
    draft = msgspec.structs.replace(intent, findings=result.findings, detail=result.detail)
    pay = tuple(
        Pay(bytes=1, c="c" * 64, key="0123456789abcdef", part=part, x="d" * 64) for part in ("request", "response")
    )
    return compose(
        draft, unix_us=_UNIX_US, clock=Clocked(src="kernel", off=-12, ok=True), identifier="01a2157c-962f-7000-8000-000000000000",
        written=Written(n=writer, e=epoch, s=12), count=3, pay=pay, development=True,
    )  # fmt: skip


def _looks_alike(module: Any) -> bool:
    from gatebook.masking.factors import ANY, END, START  # here: no other room looks
    from gatebook.masking.networks import firm_numbers
    from gatebook.masking.prefilter import BUCKETS, buckets, stand
    from gatebook.masking.sieves import Sieve

    def column(some: bytes) -> int:
        return sum(1 << byte for byte in some)

    digit, word = column(b"0123456789"), tuple(column(bytes([each, each ^ 32])) for each in b"abcdef")
    first, *others = (
        (word, Sieve.NONE),
        ((*word[:2], END | digit), Sieve.NONE),
        ((START | digit, word[5], word[4]), Sieve.NONE),
        ((digit,) * 16, Sieve.NONE),
        ((column(b"*"), ANY, digit), Sieve.NONE),
        ((column(b"\xff\x80"),) * 3, Sieve.NONE),
        ((column(b"345"), digit, digit), Sieve.NUMBER),
        ((column(b" "), column(b"4"), digit), Sieve.NUMBER),
        ((digit, column(b"eE"), digit), Sieve.EXPONENT),
        ((word[3], word[4], column(b"345"), column(b"25")), Sieve.ELEMENT),
    )
    for factor, sieve in (first, *others):
        sought = {factor: sieve}
        beside = dict([first]) if factor is others[0][0] else {}
        made = module.Prefilter(
            buckets(sought), module.Prefilter(buckets(beside), None) if beside else None, firm_numbers()
        )
        for sample, filler in itertools.product(_SEQUENCES if sieve is Sieve.NONE else _SIEVED, (b"z", b'"')):
            for before, after in itertools.product((0, 1, 31, 32, 63, 64), (0, 3, 40)):
                text = filler * before + sample + filler * after
                if made.may_hold(text) is not stand(sought | beside, text):
                    return False
    # And as what ships: as many buckets as there can be, or few, some factors in each, in ASCII and not, in texts longer than the vectors.
    for high, most in itertools.product((b"\0\0\0\0", b"\x80\x80\x80\x80", b"\0\0\x80\x80", b"\x80\x80\0\0"), (8, BUCKETS)):  # fmt: skip
        samples = tuple(
            bytes(first + each | bit for first, bit in zip((0, 32, 64, 96), high, strict=True)) for each in range(most)
        )
        made = module.Prefilter(tuple(map(_bucket_of, samples)), None)
        edges = itertools.product((0, 1, *range(28, 33), *range(60, 65), 300), (0, 1, 28, 62, 300))
        for (before, after), sample, other in itertools.product(edges, samples, (0, 128)):
            filler = bytes([sample[0] ^ other])
            around = (filler * before, filler * after)
            if made.may_hold(sample.join(around)) is not True or made.may_hold(sample[:3].join(around)) is not False:
                return False
    return True


def _bucket_of(sample: bytes) -> tuple[bytes, ...]:
    """What looks for the sample, as the last of nine; the others begin as it does, and are nowhere."""
    from gatebook.masking.prefilter import buckets
    from gatebook.masking.sieves import Sieve

    longer = (sample + sample[-1:] * more for more in (*range(8, 0, -1), 0))
    return tuple(buckets({tuple(1 << byte for byte in each): Sieve.NONE})[0][0] for each in longer)


def _reads_alike(module: Any) -> bool:
    from gatebook.wire.jsonrpc import Request, parse_client  # here: most rooms read no requests
    from gatebook.wire.strict_json import decode
    from gatebook.wire.template import filled, template_of

    def read_by_python(text: bytes) -> object:
        try:
            return decode(text)
        except Malformed:
            return NotImplemented

    for place, text in enumerate(_TEXTS):
        read = module.read(text)
        if (place < 4 or len(text) == 128) and read is NotImplemented:
            return False
        if read is not NotImplemented and repr(read) != repr(read_by_python(text)):
            return False
    for place, body in enumerate(_RESULTS):
        said = module.result(body)
        if said is None and place < 3:
            return False
        if said is not None and said != _said_by_python(body):
            return False
    request = parse_client(_CALL % (b"1", b'{"a":1}'))
    known = template_of(request) if isinstance(request, Request) else None
    if known is None:
        return False
    filler = module.Template(known.before, known.between, known.after, known.id_first)
    for identity, arguments, plain in ((b'"a/b"', b'{"c":{"d":"e"}}', True), (b"7", b"{}", True), (b"1", b'{"a":1,"a":2}', False), (b"01", b"{}", False)):  # fmt: skip
        body = _CALL % (identity, arguments)
        by_python, found = filled(known, body), filler.fill(body)
        if (found is not None) is not plain or (by_python is not None) is not plain:
            return False
        if by_python is not None and found != (by_python.id, by_python.arguments, by_python.params["arguments"]):
            return False
    return True


def _said_by_python(body: bytes) -> tuple[bytes | None, bool, str | None] | None:
    from gatebook.wire.jsonrpc import Envelope, parse_server

    try:
        said = parse_server(body)
    except Malformed:
        return None
    return (said.id, said.is_error, said.result_type) if isinstance(said, Envelope) else None


def quick_for(writer: str, epoch: str, *, development: bool, piece_bytes: int) -> Quick | None:
    """The speed-up for one writer's epoch; None where Python does it all."""
    try:
        return _made(speed_up().composer, writer, epoch, development, piece_bytes)
    except ValueError:  # a name that is no plain text
        return None


def _made(composer: Any, writer: str, epoch: str, development: bool, piece_bytes: int) -> Quick | None:
    if composer is None:
        return None
    quick: Quick = composer(writer, epoch, development, piece_bytes, _CLASSES)
    return quick


def _agrees(composer: Any) -> bool:
    """Composed in both ways: each member and each part of a call, short and in pieces, on the loop's tools and on a thread's own."""
    writer, epoch, piece_bytes = "gate-0", "01a2000000000badc0de", 20_000
    quick = _made(composer, writer, epoch, True, piece_bytes)
    key = SessionKey(Secret(bytes(range(32))), "0123456789abcdef", _SESSION, writer, epoch)
    clock = Clocked(src="kernel", off=-12, ok=True)
    assert quick is not None
    key.quick = quick.key(bytes(range(32)), "0123456789abcdef", _SESSION)
    pure = Scribe(writer=writer, epoch=epoch, entropy=bytes, payload_key=None, development=True, piece_bytes=piece_bytes, forget_after_us=0)  # fmt: skip
    for number, draft in enumerate(_known_drafts(), start=1):
        chance = bytes(range(number, number + 10 + SALT_BYTES * len(draft.payloads)))
        made = quick.compose(draft, _UNIX_US + number, clock, chance, number, number, key.quick)
        if made is None or made != pure.write_out(draft, _UNIX_US + number, clock, chance, number, number, key):
            return False
    return True


def _known_drafts() -> tuple[Draft, ...]:
    who = Who(kind="person", iss="https://idp.example", sub="8c1f22", agent="a", login="sid:1", amr=("pwd", "otp"), acr="2", acting_for="b",
              auth_time=1_795_000_000, declared=True)  # fmt: skip
    asked = Asked(fp="cd" * 32, id="7", kid="0123456789abcdef", shape={"order": "string", "amount": "integer"})
    policy = PolicyRef(config="ab" * 32, decision="permit", rule="role:support/allow[0]", snapshot=3)
    found = tuple(Finding(detector="pan", action=action, pointer="/a") for action in ("masked", "found", "masked"))
    intent = Draft(
        event="call.intent", ok=True, reason=str(Reason.PERMITTED), who=who, origin=Origin(client="agent/1.0", ip="192.0.2.7"), session=_SESSION,
        resource=Resource(kind="server", method="tools/call", name="refund", server="payments"), call="01a2157c-962f-7000-8000-000000000000",
        policy=policy, credential="payments", asked=asked, payloads=(Payload(part="request", body=b'{"amount":12}'),),
    )  # fmt: skip
    body = bytes(range(256)) * 160
    return (
        intent,
        msgspec.structs.replace(
            intent,
            event="call.result",
            findings=found,
            asked=None,
            policy=None,
            credential=None,
            ok=False,
            payloads=(Payload(part="response", body=body[:1000]), Payload(part="event", body=b"")),
            detail={"b": 1, "a": "text", "c": False},
        ),
        msgspec.structs.replace(
            intent, event="message.server", payloads=(Payload(part="message", body=body[:20_000]),)
        ),
        msgspec.structs.replace(intent, event="call.result", payloads=(Payload(part="response", body=body),)),
        msgspec.structs.replace(intent, event="stream.open", payloads=()),
    )
