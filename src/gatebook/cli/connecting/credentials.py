"""Where the token for a server comes from. Each gives one that is still good, renews it before it ends, and never the one that was refused."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from gatebook.cli.person import by_browser, tokens
from gatebook.cli.person.asking import ask
from gatebook.cli.person.by_browser import Way
from gatebook.cli.person.discovery import Desk, desk_at, desk_of
from gatebook.cli.person.errors import PersonError, Refused, Unreachable
from gatebook.cli.person.logins import Given, LoginFile

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
LOOK_S = 5.0
"""How often it is looked whether a job's token ends soon."""
GITHUB_URL, GITHUB_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"

Subject = Callable[[Desk], str]
"""A job's own token, of its CI system or cluster, for this desk. Raises PersonError."""


class Credential(Protocol):
    async def token(self, *, instead_of: str | None = None) -> str:
        """A token that is good for a while. `instead_of`: one that was refused. Raises PersonError."""


class OfPerson:
    """The person's login, kept by the command line; where there is none, the browser is opened."""

    def __init__(self, file: LoginFile, resource: str, way: Way) -> None:
        self._file, self._resource, self._way = file, resource, way
        self._one = asyncio.Lock()

    async def token(self, *, instead_of: str | None = None) -> str:
        async with self._one:  # one browser, however many requests wait for it
            return await asyncio.to_thread(
                tokens.token_for, self._file, self._resource, self._way, instead_of=instead_of
            )


class OfVariable:
    """A token that somebody else keeps fresh, in an environment variable. It cannot be renewed here."""

    def __init__(self, variable: str) -> None:
        self._variable = variable

    async def token(self, *, instead_of: str | None = None) -> str:
        found = os.environ.get(self._variable, "")
        if not found:
            raise PersonError(f"the variable {self._variable} is empty: put the token there")
        if found == instead_of:
            raise Refused(f"the token in {self._variable} is refused: it has expired, or is for another server")
        return found


class OfJob:
    """A job's own token, exchanged at the desk (RFC 8693). It is renewed by the access token that is about to end, because a job's own token is
    taken once only; where the desk does not renew it, by another token of the job."""

    def __init__(self, resource: str, subject: Subject, now: Callable[[], float] = time.time) -> None:
        self._resource, self._subject, self._now = resource, subject, now
        self._one = asyncio.Lock()
        self._given: Given | None = None

    async def keep_fresh(self) -> None:
        """Renew before each token ends, also while nothing is called: there is no refresh token, and a token that has ended renews nothing. Until it is
        cancelled, or the desk refuses: then the next message says so."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._given is not None and self._ends_soon(self._given):
                try:
                    await self.token()
                except Refused:
                    return
                except PersonError:
                    continue  # the desk cannot be reached: it is asked again, for as long as the token lasts and after

    def _ends_soon(self, given: Given) -> bool:
        return self._now() >= given.expires_at - tokens.MARGIN_S

    async def token(self, *, instead_of: str | None = None) -> str:
        async with self._one:
            given = self._given
            if given is None or given.access_token == instead_of or self._ends_soon(given):
                refused = given is not None and given.access_token == instead_of
                try:
                    self._given = await asyncio.to_thread(self._next, None if refused else given)
                except Unreachable:
                    if given is None or refused or self._now() >= given.expires_at:
                        raise
            assert self._given is not None
            return self._given.access_token

    def _next(self, given: Given | None) -> Given:
        desk = desk_at(desk_of(self._resource))
        if given is not None:
            try:
                return self._exchanged(desk, given.access_token, ACCESS_TOKEN)
            except Refused:
                pass
        return self._exchanged(desk, self._subject(desk), JWT)

    def _exchanged(self, desk: Desk, token: str, kind: str) -> Given:
        form = {
            "grant_type": EXCHANGE,
            "subject_token": token,
            "subject_token_type": kind,
            "resource": self._resource,
        }
        return by_browser.redeem(desk, form, self._now())


def of_github(audience: str | None) -> Subject:
    """GitHub Actions: a token is asked for each time (job permission `id-token: write`)."""

    def subject(desk: Desk) -> str:
        url, token = os.environ.get(GITHUB_URL), os.environ.get(GITHUB_TOKEN)
        if not url or not token:
            raise PersonError(f"{GITHUB_URL} is not set: give the job `permissions: id-token: write`")
        joined = "&" if "?" in url else "?"
        answer = ask("GET", f"{url}{joined}audience={quote(audience or desk.url, safe='')}", token=token)
        value = answer.document.get("value")
        if answer.status != 200 or not isinstance(value, str):
            raise Unreachable(f"GitHub gave no token ({answer.status})")
        return value

    return subject


def of_variable(variable: str) -> Subject:
    """GitLab CI (`id_tokens`) and others that put the job's token into a variable."""

    def subject(_desk: Desk) -> str:
        found = os.environ.get(variable, "")
        if not found:
            raise PersonError(f"the variable {variable} is empty: GitLab sets it by `id_tokens` in the job")
        return found

    return subject


def of_file(path: Path) -> Subject:
    """Kubernetes: a projected service account token, which the kubelet renews. Read each time."""

    def subject(_desk: Desk) -> str:
        try:
            found = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as failure:
            raise PersonError(f"{path} cannot be read: mount a projected service account token there") from failure
        if not found:
            raise PersonError(f"{path} is empty: mount a projected service account token there")
        return found

    return subject
