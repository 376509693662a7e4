"""Packages that only some deployments need, and how an installation gets one. pyproject.toml names the same, as extras."""

import sys
from typing import Final

DEMO: Final = "mcp>=2.3,<3"
POSTGRESQL: Final = "psycopg[binary]>=3.2,<4"
OTEL: Final = "opentelemetry-proto>=1.40,<2"


def how_to_add(requirement: str) -> str:
    """What to type, for each way in which Gatebook can have been installed; the first is for the environment that runs."""
    return (
        f"{sys.prefix}/bin/pip install '{requirement}' (installed by pipx: pipx inject gatebook '{requirement}'; "
        f"by uv, in the checkout: uv tool install --reinstall --with '{requirement}' .)"
    )
