"""Looking through folders in which somebody else is at work."""

import os
from collections.abc import Iterator
from pathlib import Path


def below(root: Path) -> Iterator[Path]:
    """Every folder and file below `root`, like `rglob("*")`, but without an error where a folder goes meanwhile: the sealer removes those of
    partial tiles. A path may be gone when it is given."""
    for folder, folders, files in os.walk(root):
        for name in sorted((*folders, *files)):
            yield Path(folder, name)
