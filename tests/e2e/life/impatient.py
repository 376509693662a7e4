"""`gatebook serve` whose workers go on for one second without a sealer, instead of sixty."""

import functools
import sys
from pathlib import Path

from gatebook import wiring
from gatebook.serve import supervisor

if __name__ == "__main__":
    supervisor.Supervisor = functools.partial(supervisor.Supervisor, sealer_grace_s=1.0)  # type: ignore[misc, assignment]
    wiring.serve(Path("gatebook.toml"), lambda deployment, made: sys.stdout.write(f"serving {deployment.public_url}\n"))
