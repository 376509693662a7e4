"""What a program writes to its standard error: masked, cut, counted, and told as diagnostics of ours."""

import asyncio
from collections.abc import Callable

from gatebook.masking import MaskingFailed, Secrets, mask_text
from gatebook.serve.diagnostics import say

LINE_CHARS = 1_000
LINE_BYTES = 16 << 10
LINES_AT_ONCE = 100
PERIOD_S = 10.0


class Complaints:
    """One process's standard error. At most `LINES_AT_ONCE` lines in `PERIOD_S` are told; the others are counted."""

    def __init__(self, server: str, pid: int, secrets: Secrets, now_s: Callable[[], float]) -> None:
        self._server = server
        self._pid = pid
        self._secrets = secrets
        self._now_s = now_s
        self._since_s = now_s()
        self._told = 0
        self._untold = 0
        self.last: str | None = None
        """The last line, as it may be shown to an operator."""

    async def read(self, stream: asyncio.StreamReader) -> None:
        """To the end of the stream. A line is cut at `LINE_BYTES`: no program makes us hold more."""
        line, cut = b"", False
        while piece := await stream.read(LINE_BYTES):
            *ended, rest = piece.split(b"\n")
            for part in ended:
                self.tell(line + part if not cut else line)
                line, cut = b"", False
            line, cut = (line + rest)[:LINE_BYTES], cut or len(line) + len(rest) > LINE_BYTES
        if line:
            self.tell(line)
        self._tell_untold()

    def tell(self, line: bytes, event: str = "command.stderr") -> None:
        if self._now_s() - self._since_s >= PERIOD_S:
            self._tell_untold()
            self._since_s, self._told = self._now_s(), 0
        if self._told >= LINES_AT_ONCE:
            self._untold += 1
            return
        if (text := self._masked(line)).strip():
            self._told += 1
            self.last = text
            say(event, server=self._server, pid=self._pid, text=text)

    def _masked(self, line: bytes) -> str:
        """Masked whole, as far as that is any use, then cut: half a card number is one that no detector knows."""
        try:
            text, _ = mask_text(line[:LINE_BYTES].decode("utf-8", "replace"), self._secrets)
        except MaskingFailed:
            return "[a line that could not be inspected]"
        return text[:LINE_CHARS]

    def _tell_untold(self) -> None:
        if self._untold:
            say("command.stderr_dropped", server=self._server, pid=self._pid, lines=self._untold)
            self._untold = 0
