"""A short life of a writer or of a sealer as a process of its own, the same each time, to be struck at one of its system calls:
`python -m tests.faults.ledger_round DIR write|seal`. A writer fills several segments and says the call of each entry that was acknowledged."""

import asyncio
import sys
from pathlib import Path

import msgspec

from gatebook.adapters.ledger_segment import SegmentLedger
from gatebook.model.deployment import Deployment
from gatebook.model.record import Payload
from tests.world_ledger import StillClock, a_draft

ENTRIES = 24


async def write(deployment: Deployment) -> None:
    """One entry after the other, and nobody else at work: so the same calls come in the same order."""
    ledger = SegmentLedger.open(deployment.data_dir, "gate-0", deployment, StillClock())
    for number in range(ENTRIES):
        call = f"{ledger.epoch}-{number}"
        payload = Payload(part="request", body=b"x" * (9_000 if number % 2 else 100))
        await ledger.record_intent(a_draft(number % 2, call=call, payloads=(payload,)))
        sys.stdout.write(f"{call}\n")
        sys.stdout.flush()
    await ledger.close()


def seal(deployment: Deployment) -> None:
    import threading

    from gatebook.wiring import seal

    stop = threading.Event()
    stop.set()
    seal(deployment, stop, StillClock())


if __name__ == "__main__":
    given = msgspec.json.decode((Path(sys.argv[1]) / "deployment.json").read_bytes(), type=Deployment)
    if sys.argv[2] == "write":
        asyncio.run(write(given))
    else:
        seal(given)
