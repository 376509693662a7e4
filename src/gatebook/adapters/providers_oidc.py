"""federation.ports.Providers by OpenID Connect: discovery, the authorization URL, the exchange of a code, UserInfo, and asking again.

Everything asked of a provider goes to its own origin, or to the ones listed here: a discovery document must not send our client secret
to another host. No redirect is followed, no proxy out of the environment is used, and every answer has a size and a deadline.
"""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx2

from gatebook.federation.binding import same
from gatebook.federation.errors import Cause, LoginRefused, PersonGone, ProviderFailed
from gatebook.federation.ports import Renewed, Tokens
from gatebook.federation.presets import PRESETS
from gatebook.identity.claims import demand_within_lifetime
from gatebook.identity.errors import KeySetRefused, TokenRefused
from gatebook.identity.strict import parse_object
from gatebook.identity.tokens import verified_claims
from gatebook.identity.urls import demand_safe_url, origin_of
from gatebook.model.deployment import IdentityProvider, Issuer, KeySet, Profile
from gatebook.model.errors import Reason
from gatebook.model.secret import Secret
from gatebook.trusted_roots import trusting_soon

TOTAL_S = 10.0
DISCOVERY_TTL_S = 600.0
MAX_ANSWER_BYTES = 512 * 1000

_ELSEWHERE = {
    "https://accounts.google.com": ("https://oauth2.googleapis.com", "https://openidconnect.googleapis.com"),
}
"""Issuers known to have endpoints at other origins."""

_GONE = frozenset({"invalid_grant", "interaction_required", "login_required", "consent_required"})
"""What a token endpoint says of a refresh token that counts no more (RFC 6749 §5.2; the others are Entra's, whose rules for access changed)."""
MAX_REFRESH_TOKEN_CHARACTERS = 16 << 10


class OidcProviders:
    """Providers. `keys(name)`: the provider's present key set; `key_unknown(name)`: returns once it was worth asking again, or soon."""

    def __init__(
        self,
        profile: Profile,
        keys: Callable[[str], KeySet | None],
        key_unknown: Callable[[str], Awaitable[None]],
        *,
        total_s: float = TOTAL_S,
    ) -> None:
        self._profile: Profile = profile
        self._keys = keys
        self._key_unknown = key_unknown
        self._total_s = total_s
        self._discovered: dict[str, tuple[float, dict[str, Any]]] = {}

    async def authorize_url(self, idp: IdentityProvider, parameters: Mapping[str, str]) -> str:
        discovery = await self._discovery(idp)
        endpoint = discovery.get("authorization_endpoint")
        try:
            if not isinstance(endpoint, str):
                raise KeySetRefused("the discovery document names no authorization_endpoint")
            demand_safe_url(
                endpoint, self._profile
            )  # the browser goes there, not we: its host is the provider's affair
        except KeySetRefused as refused:
            raise ProviderFailed(f"{idp.url}: {refused}") from refused
        # Discovery §3: a provider need not list every scope that it has, and some leave this one out. What the operator wrote is asked for.
        asked = parameters if idp.scopes_written else _without_offline(parameters, discovery.get("scopes_supported"))
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    async def redeem(
        self,
        idp: IdentityProvider,
        *,
        code: str,
        redirect_uri: str,
        verifier: str,
        nonce: str,
        secret: Secret[bytes] | None,
        now_s: float,
    ) -> Tokens:
        discovery = await self._discovery(idp)
        answer = await self._exchange(idp, discovery, code, redirect_uri, verifier, secret)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise LoginRefused(Cause.ID_TOKEN_INVALID, "The identity provider gave no ID token.")
        claims = await self._verified(token, idp, nonce, now_s)
        userinfo = await self._userinfo(idp, discovery, answer, claims)
        return Tokens(claims=claims, userinfo=userinfo, refresh_token=_refresh_token(answer))

    async def renew(
        self, idp: IdentityProvider, *, refresh_token: Secret[str], secret: Secret[bytes] | None
    ) -> Renewed:
        """RFC 6749 §6. What is about our own client there (`invalid_client`) is the operator's to mend, and says nothing of the person."""
        discovery = await self._discovery(idp)
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
        status, body = await self._ask_for_tokens(idp, discovery, form, secret)
        if status == 400 and _object(body, idp).get("error") in _GONE:
            raise PersonGone(f"{idp.url}: {_object(body, idp)['error']}")
        if status != 200:
            raise ProviderFailed(f"{idp.url}: the token endpoint answered {status} {_error_of(status, body)}".rstrip())
        answer = _object(body, idp)
        return Renewed(refresh_token=_refresh_token(answer) or refresh_token, answer=answer)

    async def who(self, idp: IdentityProvider, renewed: Renewed, *, now_s: float) -> Tokens:
        discovery, answer = await self._discovery(idp), dict(renewed.answer)
        token = answer.get("id_token")
        if token is None:
            # OIDC Core §12.2: a refresh may give none. Then UserInfo says who it is, for an access token that has just come from there.
            found = await self._userinfo(idp, discovery, answer, {})
            if found is None:
                raise ProviderFailed(
                    f"{idp.url}: gave neither an ID token nor a UserInfo response for its refresh token"
                )
            return Tokens(claims=found, userinfo=None)
        try:
            claims = await self._verified(str(token), idp, None, now_s)
        except LoginRefused as refused:
            raise ProviderFailed(f"{idp.url}: the ID token of a refresh: {refused.hint or refused.words}") from refused
        return Tokens(claims=claims, userinfo=await self._userinfo(idp, discovery, answer, claims))

    async def _verified(self, token: str, idp: IdentityProvider, nonce: str | None, now_s: float) -> dict[str, Any]:
        """OIDC Core §3.1.3.7; `nonce` None: of a refresh, §12.2. The key set is asked for again once where the token names a key it does not
        hold."""
        issuer = Issuer(name=idp.name, url=idp.url, kind="person", algorithms=idp.algorithms)
        try:
            try:
                claims = verified_claims(token, issuer, self._keys(idp.name), now_s)
            except TokenRefused as refused:
                if refused.reason not in (Reason.TOKEN_KEY_UNKNOWN, Reason.KEYS_UNAVAILABLE):
                    raise
                await self._key_unknown(idp.name)
                claims = verified_claims(token, issuer, self._keys(idp.name), now_s)
            demand_within_lifetime(claims, idp.leeway_s, now_s)
        except TokenRefused as refused:
            raise LoginRefused(
                Cause.ID_TOKEN_INVALID,
                "The identity provider's ID token is not valid.",
                hint=f"{refused.reason}: {refused.words}",
            ) from refused
        _demand_for_us(claims, idp.client_id)
        if nonce is not None and not (isinstance(claims.get("nonce"), str) and same(claims["nonce"], nonce)):
            raise LoginRefused(Cause.NONCE_WRONG, "The identity provider's answer belongs to another login.")
        return claims

    async def _exchange(
        self,
        idp: IdentityProvider,
        discovery: dict[str, Any],
        code: str,
        redirect_uri: str,
        verifier: str,
        secret: Secret[bytes] | None,
    ) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        status, body = await self._ask_for_tokens(idp, discovery, form, secret)
        if status != 200:
            if status >= 500:
                raise ProviderFailed(f"{idp.url}: the token endpoint answered {status}")
            hint = f"{status} {_error_of(status, body)}"
            raise LoginRefused(Cause.PROVIDER_REFUSED, "The identity provider did not complete the login.", hint=hint)
        return _object(body, idp)

    async def _ask_for_tokens(
        self, idp: IdentityProvider, discovery: dict[str, Any], form: dict[str, str], secret: Secret[bytes] | None
    ) -> tuple[int, bytes]:
        """The token endpoint's answer to `form`, sent as our client there."""
        headers = {}
        methods = discovery.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if secret is None:
            form["client_id"] = idp.client_id
        elif isinstance(methods, list) and "client_secret_basic" in methods:
            # RFC 6749 §2.3.1: both halves are form-encoded first.
            pair = f"{quote(idp.client_id, safe='')}:{quote(secret.reveal(), safe='')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form |= {"client_id": idp.client_id, "client_secret": secret.reveal().decode("utf-8")}
        return await self._ask(idp, self._endpoint(idp, discovery, "token_endpoint"), form=form, headers=headers)

    async def _userinfo(
        self, idp: IdentityProvider, discovery: dict[str, Any], answer: dict[str, Any], claims: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Asked only where the ID token has no groups and the provider may have them there."""
        if not PRESETS[idp.preset].userinfo or idp.groups_claim in claims or "userinfo_endpoint" not in discovery:
            return None
        token = answer.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            return None
        url = self._endpoint(idp, discovery, "userinfo_endpoint")
        status, body = await self._ask(idp, url, headers={"Authorization": f"Bearer {token}"})
        if status != 200:
            raise ProviderFailed(f"{idp.url}: the UserInfo endpoint answered {status}")
        return _object(body, idp)

    def _endpoint(self, idp: IdentityProvider, discovery: dict[str, Any], name: str) -> str:
        url = discovery.get(name)
        try:
            if not isinstance(url, str):
                raise KeySetRefused(f"the discovery document names no {name}")
            origin = origin_of(demand_safe_url(url, self._profile))
        except KeySetRefused as refused:
            raise ProviderFailed(f"{idp.url}: {refused}") from refused
        homes = (idp.url, *_ELSEWHERE.get(idp.url, ()))
        if origin not in [origin_of(urlsplit(home)) for home in homes]:
            raise ProviderFailed(f"{idp.url}: its {name} is at another host")
        return url

    async def _discovery(self, idp: IdentityProvider) -> dict[str, Any]:
        found = self._discovered.get(idp.url)
        if found is not None and time.monotonic() < found[0]:
            return found[1]
        try:
            demand_safe_url(idp.url, self._profile)
        except KeySetRefused as refused:
            raise ProviderFailed(str(refused)) from refused
        status, body = await self._ask(idp, idp.url.rstrip("/") + "/.well-known/openid-configuration")
        if status != 200:
            raise ProviderFailed(f"{idp.url}: discovery answered {status}")
        document = _object(body, idp)
        if document.get("issuer") != idp.url:
            raise ProviderFailed(
                f"{idp.url}: the discovery document is of another issuer; they compare exactly, to the slash"
            )
        self._discovered[idp.url] = (time.monotonic() + DISCOVERY_TTL_S, document)
        return document

    async def _ask(
        self,
        idp: IdentityProvider,
        url: str,
        *,
        form: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        wanted = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "gatebook",
            **(headers or {}),
        }
        try:
            async with (
                asyncio.timeout(self._total_s),
                httpx2.AsyncClient(
                    verify=await trusting_soon(idp.ca_file),
                    trust_env=False,
                    follow_redirects=False,
                    timeout=self._total_s,
                ) as client,
                client.stream("POST" if form else "GET", url, data=form, headers=wanted) as response,
            ):
                if response.headers.get("content-encoding", "identity").lower() != "identity":
                    raise ProviderFailed(f"{idp.url}: answered with a content coding nobody asked for")
                body = bytearray()
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > MAX_ANSWER_BYTES:
                        raise ProviderFailed(f"{idp.url}: an answer is larger than {MAX_ANSWER_BYTES} bytes")
                return response.status_code, bytes(body)
        except TimeoutError as error:
            raise ProviderFailed(f"{idp.url}: no complete answer within {self._total_s:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise ProviderFailed(f"{idp.url}: {type(error).__name__}") from error


def _demand_for_us(claims: dict[str, Any], client_id: str) -> None:
    """OIDC Core §3.1.3.7, steps 3 to 5: `aud` is our client id; with others beside it, `azp` is."""
    audience = claims.get("aud")
    alone = audience == client_id or audience == [client_id]
    among = isinstance(audience, list) and client_id in audience and claims.get("azp") == client_id
    if not (alone or among) or claims.get("azp", client_id) != client_id:
        raise LoginRefused(
            Cause.ID_TOKEN_INVALID, "The identity provider's ID token is for somebody else.", hint="aud or azp"
        )


def _without_offline(parameters: Mapping[str, str], supported: object) -> dict[str, str]:
    """As asked, but for the scope `offline_access` where the provider says that it knows none: some refuse what they do not know."""
    asked = dict(parameters)
    if isinstance(supported, list) and "offline_access" not in supported:
        asked["scope"] = " ".join(word for word in asked.get("scope", "").split(" ") if word != "offline_access")
    return asked


def _refresh_token(answer: Mapping[str, Any]) -> Secret[str] | None:
    token = answer.get("refresh_token")
    return Secret(token) if isinstance(token, str) and 0 < len(token) <= MAX_REFRESH_TOKEN_CHARACTERS else None


def _error_of(status: int, body: bytes) -> str:
    """Its `error` is a word of a registry (RFC 6749 §5.2); its description may hold anything."""
    if status not in (400, 401):
        return ""
    try:
        return str(parse_object(body).get("error", ""))[:40]
    except ValueError:
        return ""


def _object(body: bytes, idp: IdentityProvider) -> dict[str, Any]:
    try:
        return parse_object(body)
    except ValueError as error:
        raise ProviderFailed(f"{idp.url}: an answer cannot be read: {error}") from error
