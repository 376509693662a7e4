"""The scribe: many sessions in turn, more than it keeps ready."""

import pytest

from gatebook.ledger import payload
from gatebook.ledger.entry import Clocked, decode
from gatebook.ledger.framing import FrameKind, apart, read_frame
from gatebook.ledger.scribe import _READY, Scribe
from gatebook.model.secret import Secret
from tests.speeding import quick_of
from tests.world_ledger import START_US, CountingEntropy, a_draft

CLOCK = Clocked(src="kernel", off=0, ok=True)


@pytest.mark.parametrize("composed", ["Python", "C"])
def test_every_payload_opens_although_few_sessions_are_kept_ready(composed: str) -> None:
    private, public = payload.generate_key_pair()
    key = payload.load_private_key(private.decode())
    scribe = Scribe(writer="gate-0", epoch="0" * 20, entropy=CountingEntropy(), payload_key=payload.load_public_key(public.decode()),
                    development=False, piece_bytes=64, forget_after_us=10**12)  # fmt: skip
    scribe._quick = quick_of(scribe) if composed == "C" else None
    names = [f"{number:032x}" for number in range(_READY + 20)]
    data_keys: dict[str, Secret[bytes]] = {}
    nonces: set[tuple[str, int, int]] = set()
    for turn in range(3):
        for name in names:
            draft = a_draft(session=name)
            frames, _ = scribe.compose(draft, START_US + turn, CLOCK)
            sealed = b""
            for stored in apart(frames):
                found = read_frame(stored, 0)
                assert found is not None
                if found.kind is FrameKind.LEAF:
                    leaf = decode(found.body)
                    continue
                place, content = payload.read_stored_body(found.body)
                if found.kind is FrameKind.DATA_KEY:
                    data_keys[name] = payload.open_data_key(content, key, place)
                    continue
                sealed += content
            place = payload.Place(name, leaf.w.n, leaf.w.e, leaf.w.s, 0, 0, 1)
            assert payload.open_sealed(sealed, data_keys[name], leaf.pay[0], place) == draft.payloads[0].body
            assert leaf.n == turn + 2
            nonces.add((name, leaf.w.s, 0))
    assert len(nonces) == 3 * len(names)
    assert sum(session.ready is not None for session in scribe._sessions.values()) == len(scribe._made_ready) == _READY
