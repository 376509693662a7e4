"""Our own archives, unpacked by every Python from 3.11 on."""

import tarfile
from pathlib import Path


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    # `filter` came with 3.11.4; from 3.12 on it is an error to say nothing.
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
    else:
        archive.extractall(folder)
