"""serve.sealing_ports.Watermark in a file: one note, replaced whole."""

import os
from pathlib import Path

from gatebook.durable import sync_folder


class WatermarkFile:
    """The file `path`. Its folder is never made here: where a disk is not mounted, a folder of the same name would begin a new memory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            self._path.parent.stat()  # raises where it is the folder that is missing
            return None

    def replace(self, note: bytes) -> None:
        temporary = self._path.with_name(f"{self._path.name}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, note)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(self._path)
        sync_folder(self._path.parent)
