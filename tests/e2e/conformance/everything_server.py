"""The Python SDK's "everything" server: the one server that passes the whole suite, all revisions.

It is found only in the SDK's source package, which `make setup` unpacks under .cache/. By hand:

    .venv/bin/python -m tests.e2e.conformance.everything_server --port 3001
"""

import argparse
import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / ".cache" / "mcp-source"
FIXTURE = SOURCE / "examples" / "servers" / "everything-server"
HOW_TO_INSTALL = "the MCP SDK's source package is not unpacked; type: make setup"


def fixture_installed() -> bool:
    return FIXTURE.is_dir()


@contextlib.contextmanager
def everything_server(log: Path) -> Iterator[str]:
    """The server runs while the context is open; yields its URL. Its output goes to `log`."""
    command = [sys.executable, "-m", __name__, "--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=output)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        if not url:
            raise RuntimeError(f"the everything server did not start:\n{log.read_text(errors='replace')}")
        yield url
    finally:
        # Open streams would hold up a graceful stop, and nothing here is worth saving.
        process.kill()
        process.communicate()


def serve(port: int) -> None:
    """Serve until killed; print the URL once connections are accepted. Port 0 takes a free one."""
    import uvicorn

    sys.path.insert(0, str(FIXTURE))
    from mcp_everything_server.server import event_store, mcp  # type: ignore[import-not-found]

    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    app = mcp.streamable_http_app(event_store=event_store, retry_interval=100, host="127.0.0.1")
    # h11, because httptools leaves trailing white space in header values (RFC 9110 §5.5 says to drop it): with it the
    # server itself fails sep-2243-server-accepts-whitespace-header-value.
    config = uvicorn.Config(app, http="h11", log_level="warning")
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=3001)
    serve(parser.parse_args().port)
