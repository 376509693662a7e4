"""One call in a thread of its own."""

import contextlib
import http.client
import threading

from tests.e2e.life.deployed import PATIENCE_S, Answered, Deployed, call


class Held(threading.Thread):
    """A call that the server holds until it is released. When joined: `answered`, or `broken` where the connection ended instead."""

    def __init__(self, gate: Deployed, key: str, tool: str = "hold", *, patience_s: float = PATIENCE_S) -> None:
        super().__init__()
        self._patience_s = patience_s
        self._gate, self._body, self._token = gate, call(tool, key), gate.token("counting")
        self.answered: Answered | None = None
        self.broken: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            with contextlib.closing(self._gate.connect(self._patience_s)) as connection:
                self.answered = self._gate.ask(self._body, self._token, connection=connection)
        except (OSError, http.client.HTTPException) as failure:
            self.broken = failure
