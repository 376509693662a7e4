"""FastMCP's proxy with tokens verified, as its documentation sets it up. Runs in FastMCP's own virtual environment.

`python fastmcp_proxy.py SETTINGS_FILE`: JSON with port, path, upstream, public_key, issuer, audience.
"""

import json
import sys
from pathlib import Path

from fastmcp.server import create_proxy
from fastmcp.server.auth.providers.jwt import JWTVerifier


def main(file: str) -> None:
    settings = json.loads(Path(file).read_text())
    verifier = JWTVerifier(
        public_key=settings["public_key"], issuer=settings["issuer"], audience=settings["audience"], algorithm="ES256"
    )
    proxy = create_proxy(settings["upstream"], name="proxy", auth=verifier)
    proxy.run(
        transport="http", host="127.0.0.1", port=settings["port"], path=settings["path"], show_banner=False,
        log_level="error", stateless_http=True, json_response=True, uvicorn_config={"access_log": False},
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
