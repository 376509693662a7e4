"""The gate itself, as `gatebook serve` starts it: masking and recording on, records and bodies durable on the real disk."""

import json
import time
import urllib.request

from bench import places
from bench.peers.common import Site
from bench.processes import GATE_CORE, LOAD_CORE, Child, children, pin
from bench.tokens import ISSUER_URL

SETTLE_S = 120.0


def config(site: Site) -> str:
    """gatebook.toml. Profile `dev`, because `pci` asks for a synchronised clock and for issuers that are not on this machine."""
    text = f"""profile = "dev"
public_url = "{site.public_url}"
listen = ["127.0.0.1:{site.port}"]
workers = {site.workers}
data_dir = "data"
"""
    if site.connections is not None:
        text += f"[limits]\nconnections = {site.connections}\n"
    if site.tls is not None:
        text += f'[tls]\ncertificate = "{site.tls.certificate}"\nkey = "{site.tls.key}"\n'
    text += f'[log]\norigin = "localhost/bench"\n[[issuer]]\nname = "corp"\nurl = "{ISSUER_URL}"\nkind = "person"\njwks_file = "jwks.json"\n'
    scheme = "https" if site.tls else "http"
    for name, port in zip(site.names, site.upstreams, strict=True):
        text += f'[[server]]\nname = "{name}"\nurl = "{scheme}://127.0.0.1:{port}/{name}/mcp"\n'
        if site.tls is not None:
            text += f'ca_file = "{site.tls.ca}"\n'
    allow = ", ".join(f'{{ server = "{name}", tools = {json.dumps(site.tools)} }}' for name in site.names)
    for group in site.groups:
        text += f'[[role]]\nname = "{group}"\nmatch = [{{ issuer = "corp", group = "{group}" }}]\nallow = [{allow}]\n'
    return text


class Gatebook:
    name = "gatebook"

    def __init__(self, site: Site) -> None:
        site.directory.mkdir(parents=True)
        self._site = site
        (site.directory / "jwks.json").write_text(site.issuer.jwks())
        self.config = site.directory / "gatebook.toml"
        self.config.write_text(config(site))
        self._child = Child("gatebook", [places.GATE_PYTHON, "-m", "gatebook", "serve"], site.directory, LOAD_CORE)
        self._child.until(self._ready)
        for pid in self.pids():
            pin(pid, GATE_CORE)

    def _ready(self) -> bool:
        """Every room has started, and the worker serves."""
        rooms = [command for _, command in children(self._child.pid)]
        if sum("gatebook.wiring" in command and "gate" in command for command in rooms) < self._site.workers:
            return False
        return "config.loaded" in self._child.said() and self._serves()

    def _serves(self) -> bool:
        if self._site.tls is not None:
            return True
        try:
            with urllib.request.urlopen(f"{self._site.public_url}/readyz", timeout=2):
                return True
        except OSError:
            return False

    def pids(self) -> tuple[int, ...]:
        return self._rooms("gate")

    def sealer(self) -> int:
        return self._rooms("sealer")[0]

    def _rooms(self, kind: str) -> tuple[int, ...]:
        rooms = children(self._child.pid)
        return tuple(pid for pid, command in rooms if "gatebook.wiring" in command and kind in command)

    def sealed(self) -> int:
        """Entries under the newest checkpoint."""
        checkpoint = self._site.directory / "data" / "log" / "checkpoint"
        return int(checkpoint.read_text().split("\n")[1]) if checkpoint.exists() else 0

    def settle(self) -> float | None:
        """The sealer has nothing left: the checkpoint has not grown for a second. Seconds until it last grew."""
        begun = time.monotonic()
        grew, size = begun, self.sealed()
        while time.monotonic() - grew < 1.2 and time.monotonic() - begun < SETTLE_S:
            time.sleep(0.02)
            if (now := self.sealed()) != size:
                grew, size = time.monotonic(), now
        return grew - begun

    def sealed_to(self, size: int) -> float:
        """Seconds from now until `size` entries are under the checkpoint."""
        begun = time.monotonic()
        while self.sealed() < size:
            if time.monotonic() - begun > SETTLE_S:
                raise TimeoutError(f"{self.sealed()} entries are sealed, not {size}, after {SETTLE_S:g} s")
            time.sleep(0.005)
        return time.monotonic() - begun

    def stop(self) -> None:
        self._child.stop()
