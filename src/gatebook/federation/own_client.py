"""Our own command line as an OAuth client of the desk, and the desk's own resource beside the servers: its API (`serve.desk_http.api`)."""

from typing import Final

from gatebook.federation.known import ClientView
from gatebook.model.deployment import DESK_ISSUER, Server, ToolRule

COMMAND_LINE: Final = ClientView(
    client_id="gatebook-cli",
    name="Gatebook command line",
    redirect_uris=("http://127.0.0.1/callback",),
    vouched="known",
)
"""Public, like every native program: any program on a person's machine can use this id, so the consent page calls its name unverified."""

API_SERVER: Final = "desk"
"""What the desk's API is called where servers have names; no server may bear it (`config.values.RESERVED`)."""


def api_of(issuer: str) -> Server:
    """The desk's API as something that tokens can be for: issuer + "/api", with an audience that no server has. Its rule lets a person ask for
    a login by several factors (scope `mcp:desk:mfa`); who must, `stepping_up_desk` says."""
    resource = f"{issuer}/api"
    proven = ToolRule(tools=("**",), mfa="proven")
    return Server(name=API_SERVER, url="", resource=resource, audiences={DESK_ISSUER: resource}, tool_rules=(proven,))


def may_ask(client_id: str, server: Server) -> bool:
    """Whether this client may ask for tokens of `server`. The API is our command line's: an MCP client, however well a person means it, has no
    business in the log."""
    return server.name != API_SERVER or client_id == COMMAND_LINE.client_id
