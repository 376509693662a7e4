"""An issuer's public keys over the network, and the keeper that holds the keys of all issuers for the desk.

Only the desk fetches. What is fetched comes from whoever answers at the issuer's URL, so: the scheme and the host are the operator's
and not the answer's, there is no redirect, no proxy out of the environment, no content coding, a size and one deadline for all of it.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx2

from gatebook.identity.errors import KeySetRefused
from gatebook.identity.keysets import (
    MAX_BYTES,
    MAX_STALE_S,
    Changed,
    Failed,
    Fetched,
    KeySetState,
    Started,
    Wanted,
    advance,
    current,
    fetch_due,
    next_fetch_at,
    remembered,
)
from gatebook.identity.strict import parse_object
from gatebook.identity.urls import demand_safe_url, origin_of
from gatebook.model.deployment import Issuer, KeySet, Profile
from gatebook.trusted_roots import trusting_soon

TOTAL_S = 10.0
MAX_DISCOVERY_BYTES = 256 * 1000
POLL_S = 5.0
RENEW_S = MAX_STALE_S / 4
"""Unchanged keys are published again when the published ones are this old: the workers refuse keys older than MAX_STALE_S by
themselves, so that a desk that is gone cannot keep a withdrawn key alive."""

_KEY_HOSTS_ELSEWHERE = {"https://accounts.google.com": ("https", "www.googleapis.com", 443)}
"""Issuers known to publish their keys at another host: issuer → origin. For others, `jwks_file`."""


class KeySource(Protocol):
    """Where the bytes of an issuer's JWK Set come from. `tests/contracts/test_keys.py` is its contract as tests."""

    async def fetch(self, issuer: Issuer) -> bytes:
        """The bytes of the set, at most MAX_BYTES, unjudged; ends within TOTAL_S. Raises KeySetRefused with words for the operator."""

    def mark(self, issuer: Issuer) -> object:
        """A value that changes when the set is known to have changed; None where nothing tells. Does not block for long, never raises."""


class OidcKeys:
    """A KeySource by OpenID Connect Discovery. `total_s`: the deadline for both requests together."""

    def __init__(self, profile: Profile, *, total_s: float = TOTAL_S) -> None:
        self._profile = profile
        self._total_s = total_s

    async def fetch(self, issuer: Issuer) -> bytes:
        return await fetch(issuer, self._profile, total_s=self._total_s)

    def mark(self, issuer: Issuer) -> object:
        return None


async def fetch(issuer: Issuer, profile: Profile, *, total_s: float = TOTAL_S) -> bytes:
    """The bytes at the issuer's jwks_uri, at most MAX_BYTES, unjudged. Raises KeySetRefused with words for the operator.

    Both URLs are https; http only in the dev profile and only to a loopback address or `localhost`. The jwks_uri lies at the issuer's own
    origin or at the one of `_KEY_HOSTS_ELSEWHERE`: a document must not send the desk to an internal host. `ca_file` replaces the system's roots.
    """
    discovery_url = _discovery_url(issuer.url, profile)
    try:
        async with asyncio.timeout(total_s), _client(await trusting_soon(issuer.ca_file), total_s) as client:
            discovery = await _get(client, discovery_url, MAX_DISCOVERY_BYTES)
            return await _get(client, _jwks_url(discovery, issuer, profile), MAX_BYTES)
    except TimeoutError as error:
        raise KeySetRefused(f"{issuer.url}: no complete answer within {total_s:g} s") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise KeySetRefused(f"{issuer.url}: {type(error).__name__}: {error}") from error


def _client(context: ssl.SSLContext, total_s: float) -> httpx2.AsyncClient:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "gatebook"}
    return httpx2.AsyncClient(verify=context, trust_env=False, follow_redirects=False, timeout=total_s, headers=headers)


async def _get(client: httpx2.AsyncClient, url: str, max_bytes: int) -> bytes:
    async with client.stream("GET", url) as response:
        if response.status_code != 200:
            raise KeySetRefused(f"{url}: answered {response.status_code}; redirects are not followed")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise KeySetRefused(f"{url}: answered with a content coding nobody asked for")
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > max_bytes:
                raise KeySetRefused(f"{url}: larger than {max_bytes} bytes")
        return bytes(body)


def _discovery_url(issuer_url: str, profile: Profile) -> str:
    """OIDC Discovery 1.0 §4: a terminating slash is removed before the well-known path is appended."""
    parts = demand_safe_url(issuer_url, profile)
    if parts.query:
        raise KeySetRefused(f"{issuer_url}: an issuer has no query")
    return issuer_url.rstrip("/") + "/.well-known/openid-configuration"


def _jwks_url(discovery: bytes, issuer: Issuer, profile: Profile) -> str:
    try:
        document: dict[str, Any] = parse_object(discovery)
    except ValueError as error:
        raise KeySetRefused(f"{issuer.url}: the discovery document cannot be read: {error}") from error
    if document.get("issuer") != issuer.url:
        raise KeySetRefused(
            f"{issuer.url}: the discovery document is of another issuer; they compare exactly, to the slash"
        )
    url = document.get("jwks_uri")
    if not isinstance(url, str):
        raise KeySetRefused(f"{issuer.url}: the discovery document names no jwks_uri")
    origin = origin_of(demand_safe_url(url, profile))
    if origin not in (origin_of(urlsplit(issuer.url)), _KEY_HOSTS_ELSEWHERE.get(issuer.url)):
        raise KeySetRefused(
            f"{issuer.url}: the discovery document points to another host ({url[:200]!r}); use jwks_file"
        )
    return url


class KeyKeeper:
    """Keeps the key sets of all issuers current, and says when what may be verified with has changed.

    `publish` gets every usable set by issuer name; an issuer without one is absent and its tokens must be refused. It is called on the
    event loop, must not block, and is called only when the keys have changed, when a set has become too stale or usable again, or to
    renew the age of unchanged ones (RENEW_S); an exception in it ends `run`. `known`: sets that survived a restart. `now_s`: seconds
    since the epoch, UTC. `poll_s`: how soon a changed file or a clock that was set is noticed. One issuer that hangs delays no other.
    """

    def __init__(
        self,
        issuers: tuple[Issuer, ...],
        source_of: Callable[[Issuer], KeySource],
        publish: Callable[[dict[str, KeySet]], None],
        *,
        now_s: Callable[[], float],
        known: Mapping[str, KeySet] | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._sources = {issuer.name: source_of(issuer) for issuer in issuers}
        self._publish = publish
        self._now_s = now_s
        self._poll_s = poll_s
        kept = {name: key_set for name, key_set in (known or {}).items() if name in self._issuers}
        self._states = {name: remembered(kept[name]) if name in kept else KeySetState() for name in self._issuers}
        self._marks: dict[str, object] = {}
        self._published: dict[str, KeySet] | None = None
        self._unanswered = set(self._issuers)
        self._wake = asyncio.Event()
        self._awaited: dict[str, asyncio.Event] = {}
        """Fetches that somebody waits for, by issuer."""
        self._all_answered = asyncio.Event()
        self._note_answered(None)

    async def run(self) -> None:
        """Fetch, keep and publish until cancelled."""
        async with asyncio.TaskGroup() as fetches:
            while True:
                self._wake.clear()
                self._want_changed_files()
                for name in [name for name, state in self._states.items() if fetch_due(state, self._now_s())]:
                    self._advance(name, Started())
                    fetches.create_task(self._fetch(name))
                self._publish_what_changed()
                self._tell_who_waits()
                # Not wait_for: until Python 3.12 it can lose a cancellation that meets its timeout, and the desk would not stop.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause_s()):
                        await self._wake.wait()

    async def answered(self) -> None:
        """Wait until every issuer has once answered or failed: then a first snapshot is worth compiling. At most about TOTAL_S after `run`."""
        await self._all_answered.wait()

    def unknown_kid(self, issuer_name: str) -> None:
        """Take note that a token named a key that this issuer's set does not hold. Cheap; leads to at most one fetch in 30 s per issuer,
        whatever is asked for and how often. A name that is no issuer's is ignored."""
        if issuer_name in self._states and not self._states[issuer_name].wanted:
            self._advance(issuer_name, Wanted())
            self._wake.set()

    async def asked_again(self, issuer_name: str) -> None:
        """`unknown_kid`, and return when that issuer's fetch has ended and what it brought is published; at once where none is under way or may
        begin now. Any number may wait for one fetch; whoever does should not do so for TOTAL_S."""
        self.unknown_kid(issuer_name)
        state = self._states.get(issuer_name)
        if state is not None and (state.fetching or fetch_due(state, self._now_s())):
            await self._awaited.setdefault(issuer_name, asyncio.Event()).wait()

    def problems(self) -> dict[str, str]:
        """Issuer name → why its last fetch brought nothing, for those where it did not. For the operator."""
        return {name: state.problem for name, state in self._states.items() if state.problem is not None}

    def fetched_at(self) -> dict[str, float | None]:
        """Issuer name → when its set was last fetched, in seconds since the epoch; None: never."""
        return {name: state.fetched_at for name, state in self._states.items()}

    async def _fetch(self, name: str) -> None:
        try:
            raw = await self._sources[name].fetch(self._issuers[name])
        except KeySetRefused as refused:
            self._advance(name, Failed(str(refused)))
        except (
            Exception
        ) as error:  # a flaw of one source must not end the keys of all issuers: it is that issuer's failed fetch
            self._advance(name, Failed(f"{type(error).__name__} while fetching"))
        else:
            self._advance(name, Fetched(raw))
        self._note_answered(name)
        self._wake.set()

    def _advance(self, name: str, event: Changed | Started | Wanted | Failed | Fetched) -> None:
        self._states[name] = advance(self._states[name], self._now_s(), event)

    def _note_answered(self, name: str | None) -> None:
        self._unanswered.discard(name or "")
        if not self._unanswered:
            self._all_answered.set()

    def _want_changed_files(self) -> None:
        for name, source in self._sources.items():
            mark = source.mark(self._issuers[name])
            if name in self._marks and self._marks[name] != mark:
                self._advance(name, Changed())
            self._marks[name] = mark

    def _tell_who_waits(self) -> None:
        for name in [name for name in self._awaited if not self._states[name].fetching]:
            self._awaited.pop(name).set()

    def _publish_what_changed(self) -> None:
        now_s = self._now_s()
        usable = {name: found for name, state in self._states.items() if (found := current(state, now_s)) is not None}
        if self._published is None and not usable and self._unanswered:
            return  # nothing is known yet, which is not the same as: there are no keys
        if self._published is None or _differ(self._published, usable):
            self._published = usable
            self._publish(dict(usable))

    def _pause_s(self) -> float:
        now_s = self._now_s()
        waits = [next_fetch_at(state, now_s) - now_s for state in self._states.values() if not state.fetching]
        stale = [
            state.fetched_at + MAX_STALE_S - now_s for state in self._states.values() if state.fetched_at is not None
        ]
        return min([self._poll_s, *(wait for wait in waits + stale if wait > 0)])


def _differ(published: dict[str, KeySet], usable: dict[str, KeySet]) -> bool:
    if published.keys() != usable.keys():
        return True
    return any(
        usable[name].jwks != old.jwks or usable[name].fetched_at - old.fetched_at >= RENEW_S
        for name, old in published.items()
    )
