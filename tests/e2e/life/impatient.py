"""`gatebook serve` whose workers go on for one second without a sealer, instead of sixty."""

import functools
from pathlib import Path

from gatebook import wiring
from gatebook.serve import supervisor

if __name__ == "__main__":
    supervisor.Supervisor = functools.partial(supervisor.Supervisor, sealer_grace_s=1.0)  # type: ignore[misc, assignment]
    wiring.serve(
        Path("gatebook.toml"), lambda deployment, _: print("Gatebook serves", deployment.public_url, flush=True)
    )
