"""The masker's doors: a whole message, a bare text, and what a client sends on its way in."""

from gatebook.masking import trigger
from gatebook.masking.budget import Budget, budget_for
from gatebook.masking.edits import Edit, applied
from gatebook.masking.frames import Frame, Segment
from gatebook.masking.leaves import Judge, Place, text_edits
from gatebook.masking.results import Inspected, Masked, MaskingFailed
from gatebook.masking.secrets import NO_SECRETS, Secrets
from gatebook.masking.walk import DECODERS, Found, walk
from gatebook.model.finding import Finding

MOST_PLACES = 100_000
"""Looking at one place closely costs some 20 µs: a message made of nothing else would hold up the others for minutes. Refused instead."""


def mask(body: bytes, secrets: Secrets = NO_SECRETS) -> Masked:
    """The message with card numbers masked, authentication data removed and live secrets redacted; findings in its order.

    `body`: one JSON document (UTF-8) that was parsed strictly. Nothing found: the same object. Every byte outside a finding
    is kept, types stay, and masking the result again changes nothing. Raises MaskingFailed; then the message is refused.
    """
    seen = trigger.occurring(body, secrets)
    if not seen:
        return Masked(body, ())
    budget = budget_for(len(body))
    hits = _hits(body, secrets, budget, seen)
    if hits is trigger.NOTHING:
        return Masked(body, ())
    judge = Judge(secrets=secrets, budget=budget)
    return _masked(body, walk(body, Place(), judge, hits), judge)


def _hits(
    body: bytes, secrets: Secrets, budget: Budget, seen: list[int] | None = None, *, own_masks: bool = False
) -> trigger.Hits:
    hits = trigger.hits(body, secrets, seen=seen, own_masks=own_masks, budget=budget)
    if len(hits.positions) > MOST_PLACES:
        raise MaskingFailed("more places to look at closely than one message may have")
    return hits


def mask_without_triggers(body: bytes, secrets: Secrets = NO_SECRETS) -> Masked:
    """What `mask` must equal, by looking at every leaf with every detector. Slow: for tests."""
    judge = Judge(secrets=secrets, triggers=False)
    return _masked(body, walk(body, Place(), judge, trigger.NOTHING), judge)


def mask_text(text: str, secrets: Secrets = NO_SECRETS) -> tuple[str, tuple[Finding, ...]]:
    """The same for a bare text (header value, URI, comment of a stream, error); pointers are "". Raises MaskingFailed."""
    try:
        content = text.encode("utf-8", "surrogatepass")
    except UnicodeEncodeError:
        raise MaskingFailed("text that UTF-8 cannot hold") from None
    if text.isascii() and secrets.known_clean(content):
        return text, ()
    edits = text_edits(content, Place(), Judge(secrets=secrets, budget=budget_for(len(content))), DECODERS)
    if not edits:
        if text.isascii():
            secrets.remember_clean(content)
        return text, ()
    return applied(content, edits).decode("utf-8", "surrogatepass"), tuple(_finding(edit, "") for edit in edits)


def inspect_arguments(body: bytes) -> tuple[Finding, ...]:
    """What a client must not send: card numbers, authentication data, and our own masks coming back (they would overwrite
    good data). Nothing is changed; on any finding the caller refuses. `body` as for `mask`. Raises MaskingFailed."""
    budget = budget_for(len(body))
    hits = _hits(body, NO_SECRETS, budget, own_masks=True)
    if hits is trigger.NOTHING:
        return ()
    return _arguments(body, hits, Judge(secrets=NO_SECRETS, own_masks=True, budget=budget))


def inspect_arguments_without_triggers(body: bytes) -> tuple[Finding, ...]:
    """What `inspect_arguments` must equal. Slow: for tests."""
    return _arguments(body, trigger.NOTHING, Judge(secrets=NO_SECRETS, own_masks=True, triggers=False))


def _arguments(body: bytes, hits: trigger.Hits, judge: Judge) -> tuple[Finding, ...]:
    pointers = _Pointers(judge)
    return tuple(
        Finding(detector=found.edit.detector, action="found", pointer=pointers.of(found.frame, found.segment))
        for found in walk(body, Place(), judge, hits)
    )


def inspect(body: bytes, secrets: Secrets = NO_SECRETS) -> Inspected:
    """What `inspect_arguments(body)` and `mask(body, secrets)` say of one request, for the price of one look when nothing hits.

    Nothing found: no findings, and `masked.body` is the very object that was passed in. Raises MaskingFailed as they do."""
    seen = trigger.occurring(body, secrets)
    if not seen:
        return Inspected((), Masked(body, ()))
    budget = budget_for(len(body))
    hits = _hits(body, secrets, budget, seen, own_masks=True)
    if hits is trigger.NOTHING:
        return Inspected((), Masked(body, ()))
    judge = Judge(secrets=secrets, budget=budget)
    return Inspected(
        _arguments(body, hits, Judge(secrets=NO_SECRETS, own_masks=True, budget=budget_for(len(body)))),
        _masked(body, walk(body, Place(), judge, hits), judge),
    )


def is_clean(raw: bytes, secrets: Secrets = NO_SECRETS) -> bool:
    """True when `mask_text` would find nothing in this text as it stands, read as UTF-8 or as Latin-1: for header values and lines
    of a stream, without a decode. Never raises: what cannot be judged is not clean."""
    if secrets.known_clean(raw):
        return True
    readings = (raw,) if raw.isascii() else (raw, raw.decode("latin-1").encode())
    try:
        clean = not any(
            text_edits(text, Place(), Judge(secrets=secrets, budget=budget_for(len(text))), DECODERS)
            for text in readings
        )
    except MaskingFailed:
        return False
    if clean:
        secrets.remember_clean(raw)
    return clean


def _masked(body: bytes, found: list[Found], judge: Judge) -> Masked:
    if not found:
        return Masked(body, ())
    pointers = _Pointers(judge)
    findings = tuple(_finding(f.edit, pointers.of(f.frame, f.segment)) for f in found)
    return Masked(applied(body, [f.edit for f in found]), findings)


def _finding(edit: Edit, pointer: str) -> Finding:
    return Finding(detector=edit.detector, action=edit.action, pointer=pointer)


class _Pointers:
    """RFC 6901 pointers of one document. Keys that hold something to mask stand masked in them."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._shown: dict[tuple[bytes, bool], str] = {}

    def of(self, frame: Frame, segment: Segment) -> str:
        """The pointer of a leaf in `frame`, or of the frame itself when `segment` is None."""
        if frame.pointer is None:
            frame.pointer = "" if frame.parent is None else self.of(frame.parent, frame.segment)
        if segment is None or frame.parent is None:
            return frame.pointer
        if isinstance(segment, int):
            return f"{frame.pointer}/{segment}"
        key = (segment, frame.place.surroundings.card)
        if key not in self._shown:
            self._shown[key] = self._masked(*key)
        return f"{frame.pointer}/{self._shown[key]}"

    def _masked(self, key: bytes, card: bool) -> str:
        shown = applied(key, text_edits(key, Place(card=card), self._judge))
        return shown.decode("utf-8", "replace").replace("~", "~0").replace("/", "~1")
