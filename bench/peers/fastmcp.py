"""FastMCP's proxy, and the upstream it needs: it numbers its requests itself, so prepared answers with one id do not fit."""

import json

from bench import places
from bench.bodies import Answers
from bench.peers.common import Site
from bench.processes import GATE_CORE, LOAD_CORE, Child, free_port, listens
from bench.tokens import ISSUER_URL

HERE = places.ROOT / "bench" / "programs"


class Fastmcp:
    name = "fastmcp"

    def __init__(self, site: Site, answers: Answers) -> None:
        directory = site.directory
        directory.mkdir(parents=True)
        if not places.FASTMCP_PYTHON.exists():
            raise places.Missing("FastMCP is not installed: type `make bench`, which installs it")
        files = directory / "plain", directory / "card", directory / "count"
        for file, text in zip(files, (answers.plain, answers.card, b""), strict=True):
            file.write_bytes(text)
        self._count = files[2]
        port = free_port()
        self._upstream = Child(
            "fastmcp-upstream",
            [places.GATE_PYTHON, HERE / "fastmcp_server.py", str(port), *files],
            directory,
            LOAD_CORE,
        )
        self._upstream.until(lambda: listens(port))
        self.config = directory / "settings.json"
        settings = {
            "port": site.port, "path": site.path("mcp"), "upstream": f"http://127.0.0.1:{port}/mcp",
            "public_key": site.issuer.public_pem(), "issuer": ISSUER_URL, "audience": site.audience("mcp"),
        }  # fmt: skip
        self.config.write_text(json.dumps(settings, indent=1))
        self._child = Child(
            "fastmcp", [places.FASTMCP_PYTHON, HERE / "fastmcp_proxy.py", self.config], directory, GATE_CORE
        )
        self._child.until(lambda: listens(site.port))

    def pids(self) -> tuple[int, ...]:
        return (self._child.pid,)

    def counted(self) -> int:
        """Tool calls that reached its upstream."""
        return self._count.stat().st_size

    def settle(self) -> float | None:
        return None

    def stop(self) -> None:
        self._child.stop()
        self._upstream.stop()
