"""The SDK's everything server, the same object that the conformance baseline is taken from, on standard input and output."""

import sys

from tests.e2e.conformance.everything_server import FIXTURE

sys.path.insert(0, str(FIXTURE))
from mcp_everything_server.server import mcp  # type: ignore[import-not-found]

mcp.run("stdio")
