"""serve.sealing_ports.Watermark in a file: one note, replaced whole."""

from pathlib import Path

from gatebook.durable import replace_file


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
        replace_file(self._path, note, mode=0o600)
