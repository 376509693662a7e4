"""A sealer as a process of its own, to be killed: `python -m tests.faults.ledger_sealer DIR`. It ends cleanly on SIGTERM."""

import sys
from pathlib import Path

from gatebook.serve.stopping import stopped_by_sigterm

if __name__ == "__main__":
    stop = stopped_by_sigterm()  # before what takes long to import: a stop may come early

    import msgspec

    from gatebook.model.deployment import Deployment
    from gatebook.serve import sealing
    from gatebook.wiring import seal

    sealing._REMEMBER_ENTRIES = 300  # often enough that it dies at it, and goes on from it

    seal(msgspec.json.decode((Path(sys.argv[1]) / "deployment.json").read_bytes(), type=Deployment), stop)
