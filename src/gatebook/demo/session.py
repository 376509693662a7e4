"""A person's agent in the tour: the MCP Python SDK's client with its own OAuth, and a scripted browser in which the person logs in."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from mcp_types import Implementation
from pydantic import AnyUrl

from gatebook import __version__
from gatebook.demo.browsing import ScriptedBrowser
from gatebook.demo.place import Place
from gatebook.demo.telling import innermost

NAME: Final = "gatebook-tour"
CALLBACK: Final = "http://127.0.0.1:7777/callback"
"""Nobody listens there: the scripted browser stops before it, and hands the answer over."""


class _Kept:
    """mcp's TokenStorage, in memory."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Session:
    """One agent of one person (`person`: a button of the demonstration's provider). What it was given it keeps for its next connection."""

    def __init__(self, place: Place, person: str = "alice") -> None:
        self._place = place
        self._kept = _Kept()
        self._answer = ""
        self.browser = ScriptedBrowser({"person": person, "answer": "allow"})

    @property
    def client_id(self) -> str:
        return str(self._kept.client.client_id) if self._kept.client else ""

    @property
    def access_token(self) -> str:
        return self._kept.tokens.access_token if self._kept.tokens else ""

    def claims(self) -> dict[str, Any]:
        """What the access token says, unverified: for telling."""
        payload = self.access_token.split(".")[1]
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return found

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Client]:
        """The client, connected; it logs in where it must. What is raised inside leaves as it is: task groups would wrap it."""
        metadata = OAuthClientMetadata(
            redirect_uris=[AnyUrl(CALLBACK)], client_name=NAME, token_endpoint_auth_method="none"
        )
        auth = OAuthClientProvider(self._place.mcp_url, metadata, self._kept, self._go, self._come)
        info = Implementation(name=NAME, version=__version__)
        try:
            async with (
                httpx2.AsyncClient(auth=auth, timeout=20.0, trust_env=False) as http,
                Client(streamable_http_client(self._place.mcp_url, http_client=http), client_info=info) as client,
            ):
                yield client
        except BaseExceptionGroup as group:
            raise innermost(group) from group

    async def _go(self, url: str) -> None:
        self._answer = await self.browser.visit(url, CALLBACK)

    async def _come(self) -> AuthorizationCodeResult:
        answer = {name: values[0] for name, values in parse_qs(urlsplit(self._answer).query).items()}
        return AuthorizationCodeResult(code=answer.get("code", ""), state=answer.get("state"), iss=answer.get("iss"))
