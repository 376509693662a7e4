"""What Authlib is shown: a request, a client, a code and a refresh token, in the shapes that it asks for; and what it gives back."""

from collections.abc import Mapping
from typing import Any

import msgspec
from authlib.oauth2 import OAuth2Request
from authlib.oauth2.rfc6749 import OAuth2Error
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload

from gatebook.federation import redirects
from gatebook.federation.known import ClientView
from gatebook.federation.records import Code, Grant, Login


class Answered(msgspec.Struct):
    """What Authlib answers: a body of JSON, or a redirect."""

    status: int
    body: Any
    headers: list[tuple[str, str]]

    @property
    def location(self) -> str | None:
        return next((value for name, value in self.headers if name == "Location"), None)


class DeskRequest(OAuth2Request):  # type: ignore[misc]
    """A request's parameters, each of which stood in it once. Whether the transport is safe is the configuration's affair: Authlib is shown
    an https URI."""

    def __init__(self, method: str, parameters: Mapping[str, str]) -> None:
        super().__init__(method, "https://desk.invalid/")
        self.payload = BasicOAuth2Payload(dict(parameters))
        self._parameters = dict(parameters)

    @property
    def args(self) -> dict[str, str]:
        return self._parameters

    @property
    def form(self) -> dict[str, str]:
        return self._parameters


class OAuthClient:
    """A ClientView as Authlib asks for it: public, by code and refresh token alone."""

    def __init__(self, view: ClientView) -> None:
        self.view = view

    def get_client_id(self) -> str:
        return self.view.client_id

    def get_default_redirect_uri(self) -> str:
        return ""  # it must be in the request: OAuth 2.1 §4.1.1

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirects.matches(self.view.redirect_uris, redirect_uri) is not None

    def check_client_secret(self, client_secret: str) -> bool:
        return False

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "none"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in ("authorization_code", "refresh_token")


class InvalidTargetError(OAuth2Error):  # type: ignore[misc]
    error = "invalid_target"  # RFC 8707 §2


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What a token is made of: a grant, the login behind it, the turn whose refresh token goes out, and how it came to that."""

    grant: Grant
    login: Login
    number: int
    how: str


class HeldCode(msgspec.Struct, frozen=True, kw_only=True):
    """A stored code as Authlib asks for it."""

    code: Code

    @property
    def code_challenge(self) -> str:
        return self.code.code_challenge

    @property
    def code_challenge_method(self) -> str:
        return "S256"

    def get_redirect_uri(self) -> str:
        return self.code.redirect_uri

    def get_scope(self) -> str:
        return self.code.scope


class HeldRefresh(msgspec.Struct, frozen=True, kw_only=True):
    """A genuine refresh token of a grant, which may be over."""

    grant: Grant
    number: int
    token: str

    def check_client(self, client: OAuthClient) -> bool:
        return client.view.client_id == self.grant.client_id

    def get_scope(self) -> str:
        return self.grant.scope
