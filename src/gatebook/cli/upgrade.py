"""`gatebook upgrade`."""

import sys
from pathlib import Path

from gatebook.cli import ordering
from gatebook.cli.restart import AS_JSON, CONFIG


def upgrade(config: Path = CONFIG, as_json: bool = AS_JSON) -> None:
    """Put this release in the place of the one that runs, and lose no call: to be typed with the program of the release to go to, a newer one or
    an older one, installed beside the other.

    It is asked first whether it can read what lies in data_dir, and checks the configuration; the one that runs goes on where it cannot, and also
    where its processes do not start. Then as gatebook restart.

    Exit codes: 0 this release serves, 1 it does not, or not everywhere, and why; 2 no gate runs, or it cannot be asked."""
    ordering.give(config, sys.executable, as_json=as_json)
