"""The speed-up of records, `gatebook_speed` (native/): used where it is installed, wanted, and gives the bytes that Python gives."""

import functools
import os
from typing import Any, Final

import msgspec

from gatebook.ledger.entry import Clocked
from gatebook.ledger.payload import SALT_BYTES, SessionKey
from gatebook.ledger.scribe import Quick, Scribe
from gatebook.model.errors import Reason
from gatebook.model.finding import Finding
from gatebook.model.record import Asked, Draft, Origin, Payload, PolicyRef, Resource, Who
from gatebook.model.secret import Secret

PURE: Final = "GATEBOOK_PURE"
"""With this variable of the environment set (and not 0), nothing but Python composes records."""
_CLASSES: Final = (Draft, Who, Origin, Resource, PolicyRef, Asked, Payload, Finding, Clocked)
_UNIX_US: Final = 1_795_000_000_000_000
_SESSION: Final = "0123456789abcdef" * 2


class SpeedUp(msgspec.Struct, frozen=True, kw_only=True):
    """`composer`: the class that makes a `Quick`; None where records are composed in Python. `refused`: it is there, and must not be used."""

    words: str
    composer: Any = None
    refused: bool = False


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
    return judged(gatebook_speed.Composer, str(gatebook_speed.VERSION))


def judged(composer: Any, version: str) -> SpeedUp:
    """`composer` is used where all that it makes of known drafts is what Python makes: no byte of a log is written by one that errs."""
    try:
        sound = _agrees(composer)
    except Exception:  # whatever it is: Python does the same, and the log must not hang on this
        sound = False
    if sound:
        return SpeedUp(words=f"in C: gatebook-speed {version}", composer=composer)
    return SpeedUp(words=f"in Python: gatebook-speed {version} gives other bytes than Python, or none", refused=True)


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
        wanted = pure.write_out(draft, _UNIX_US + number, clock, chance, number, number, key)
        if made is None or made != (wanted.frames, wanted.leaf):
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
