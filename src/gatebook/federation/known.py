"""Which client is this? Pre-registered by the operator, of a document that comes with Gatebook, fetched, or registered by itself."""

from typing import Final, Literal

import msgspec

from gatebook.model.deployment import Client

Vouched = Literal["operator", "known", "document", "nobody"]


class ClientView(msgspec.Struct, frozen=True, kw_only=True):
    """A client as one request sees it. `vouched`: who says that name and redirect URIs are its own. Only `operator` is more than the
    client's own word; a `document` proves that its host says so."""

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    vouched: Vouched


KNOWN: Final[dict[str, ClientView]] = {
    view.client_id: view
    for view in (
        ClientView(
            client_id="https://claude.ai/oauth/claude-code-client-metadata",
            name="Claude Code",
            redirect_uris=("http://localhost/callback", "http://127.0.0.1/callback"),
            vouched="known",
        ),
        ClientView(
            client_id="https://vscode.dev/oauth/client-metadata.json",
            name="Visual Studio Code",
            redirect_uris=("http://127.0.0.1/", "http://127.0.0.1", "https://vscode.dev/redirect"),
            vouched="known",
        ),
    )
}
"""Documents of known clients, so that a closed network needs no internet. As their makers publish them; no copy of theirs is fetched."""

KNOWN_REDIRECTS: Final = frozenset(
    {
        "https://claude.ai/api/mcp/auth_callback",
        "https://vscode.dev/redirect",
        "https://insiders.vscode.dev/redirect",
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
    }
)
"""What a client that registers itself may name beside loopback: exact URIs of known clients."""


def configured(client: Client) -> ClientView:
    return ClientView(
        client_id=client.client_id, name=client.name, redirect_uris=client.redirect_uris, vouched="operator"
    )
