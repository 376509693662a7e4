"""A writer as a process of its own, to be killed: `python -m tests.faults.ledger_writer DIR WRITER`. It says the call of each entry that was
acknowledged, one a line, and goes on until it dies."""

import asyncio
import sys
from pathlib import Path

import msgspec

from gatebook.adapters.ledger_segment import SegmentLedger
from gatebook.model.deployment import Deployment
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Payload
from tests.world_ledger import StillClock, a_draft


async def write(deployment: Deployment, writer: str) -> None:
    ledger = SegmentLedger.open(deployment.data_dir, writer, deployment, StillClock())

    async def one(lane: int) -> None:
        number = 0
        while True:
            call = f"{writer}-{ledger.epoch}-{lane}-{number}"
            size = 40_000 if number % 17 == 5 else number % 900
            draft = a_draft(lane, call=call, payloads=(Payload(part="request", body=b"x" * size),))
            number += 1
            try:
                await ledger.record_intent(draft)
            except LedgerUnavailable:
                await asyncio.sleep(0.02)  # its segments are full until the sealer comes back
                continue
            sys.stdout.write(f"{call}\n")
            sys.stdout.flush()

    await asyncio.gather(*(one(lane) for lane in range(8)))


if __name__ == "__main__":
    asyncio.run(
        write(msgspec.json.decode((Path(sys.argv[1]) / "deployment.json").read_bytes(), type=Deployment), sys.argv[2])
    )
