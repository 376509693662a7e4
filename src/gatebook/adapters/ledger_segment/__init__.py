"""ports.Ledger: each process appends to segments of its own and commits in groups. `chain` holds the files, `writer` the queue."""

from gatebook.adapters.ledger_segment.chain import SegmentChain
from gatebook.adapters.ledger_segment.writer import SMALL_SEGMENT_BYTES, SegmentHand, SegmentLedger

__all__ = ["SMALL_SEGMENT_BYTES", "SegmentChain", "SegmentHand", "SegmentLedger"]
