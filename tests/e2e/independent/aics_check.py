"""Judges a log by aics-tlog alone: `aics_check.py LOG_DIRECTORY VKEY [OLD_CHECKPOINT]`. Runs in a virtual environment of its own."""

import sys
from pathlib import Path

from aics_tlog.checkpoint import parse_checkpoint
from aics_tlog.note import parse_note, parse_vkey, verify_note
from aics_tlog.tiles import FileSystemTileReader, consistency_proof_from_tiles, inclusion_proof_from_tiles, read_entry
from aics_tlog.tree import verify_consistency, verify_leaf_inclusion
from aics_tlog.verified import audit_tiles


def opened(path: Path, vkey: str):
    note = parse_note(path.read_bytes())
    assert verify_note(note, [parse_vkey(vkey)]), f"{path}: the signature does not hold"
    return parse_checkpoint(note.text)


def main(directory: Path, vkey: str, old: Path | None) -> None:
    head = opened(directory / "checkpoint", vkey)
    reader = FileSystemTileReader(directory)
    print(audit_tiles(reader, head.size, head.root, entries=True))
    for index in range(0, head.size, head.size // 50 + 1):
        entry = read_entry(reader, index, head.size)
        proof = inclusion_proof_from_tiles(reader, index, head.size)
        assert verify_leaf_inclusion(entry, index, head.size, proof, head.root), f"entry {index} is not included"
    if old is not None:
        before = opened(old, vkey)
        proof = consistency_proof_from_tiles(reader, before.size, head.size)
        assert verify_consistency(before.size, head.size, before.root, head.root, proof), "the log was rewritten"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None)
