"""What a log that was begun after a roll-back says of the log before it. docs/adr/0018-a-restore-begins-a-new-log.md"""

import msgspec

PREDECESSOR = "predecessor"
"""Its name beside the sealer's state."""


class Predecessor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log before this one ended at `size` with `root` (hex), as far as it was brought back. `known_size`: the largest size that is known to
    have been signed of it; 0: nobody remembers. `manifest`: SHA-256 of the backup's manifest; empty where there was none.

    `former`: where the old log lies, relative to the data directory. `by`, `second`: who restored, as they said."""

    v: int = 1
    origin: str
    vkey: str
    size: int
    root: str
    known_size: int
    former: str
    restored_at: str
    by: str
    second: str = ""
    manifest: str = ""

    def facts(self) -> dict[str, str | int | bool]:
        """What `log.init` says of it: enough to find the old head, and to demand the old key."""
        return {
            "previous_origin": self.origin,
            "previous_vkey": self.vkey,
            "previous_size": self.size,
            "previous_root": self.root,
            "previous_known_size": self.known_size,
        }

    def words(self) -> str:
        """For people: what happened, in one sentence."""
        if not self.known_size:
            what = "RESTORED, and nobody knows whether later entries were lost"
        elif self.known_size <= self.size:  # less: whoever showed a checkpoint had an older one
            what = "RESTORED, and nothing was lost"
        else:
            what = f"ROLLED BACK by {self.known_size - self.size} entries"
        return (
            f"{what}: on {self.restored_at} {self.by} went on from a copy of {self.origin} that ends at {self.size} entries; "
            f"that log lies in {self.former}, and this one is new"
        )


def pack(predecessor: Predecessor) -> bytes:
    return msgspec.json.format(msgspec.json.encode(predecessor)) + b"\n"


def unpack(raw: bytes) -> Predecessor:
    """The inverse of `pack`. Raises ValueError."""
    return msgspec.json.decode(raw, type=Predecessor)
