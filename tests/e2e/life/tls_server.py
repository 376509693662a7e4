"""A real MCP server on the Python SDK behind TLS, which answers only to its API key.

python -m tests.e2e.life.tls_server CERTIFICATE KEY API_KEY
"""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]


@contextlib.contextmanager
def tls_server(certificate: Path, key: Path, api_key: str, log: Path) -> Iterator[str]:
    """The server runs while the context is open; yields its https URL, on localhost."""
    command = [sys.executable, "-m", __name__, str(certificate), str(key), api_key]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=output)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        if not url:
            raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')}")
        yield url
    finally:
        process.kill()
        process.communicate()


def serve(certificate: str, key: str, api_key: str) -> None:
    import uvicorn
    from mcp.server import MCPServer

    from gatebook.demo.payments import ApiKeyRequired

    mcp = MCPServer("orders")

    @mcp.tool()
    def get_order(order_id: str) -> str:
        """One order, with the card it was paid by: a published test number."""
        return f"order {order_id}, paid by card 4111 1111 1111 1111"

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    app = ApiKeyRequired(mcp.streamable_http_app(host="localhost"), api_key)
    config = uvicorn.Config(app, log_level="warning", ssl_certfile=certificate, ssl_keyfile=key)
    print(f"https://localhost:{port}/mcp", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    serve(*sys.argv[1:4])
