"""At a refresh, and where a browser goes on with its login: the provider is asked again who this is, at most once in an access token's lifetime for each login, however many clients refresh.

The provider's own refresh token lies in the login's row, sealed (`federation.envelope`). It may change with each use there, and the old one
then counts no more: the next one is kept before anything else is done with the answer.

LIMIT: a desk that is killed between the provider's answer and our keeping it has lost the token; the person logs in again. So do two desks that
share a database and ask for one login in the same moment, where the provider takes a token once only.
"""

import asyncio

import msgspec

from gatebook.federation import envelope, refreshing, standing
from gatebook.federation.errors import Cause, LoginRefused, PersonGone, ProviderFailed
from gatebook.federation.people import logged_in
from gatebook.federation.ports import Renewed
from gatebook.federation.records import LoggedIn, Login
from gatebook.federation.shared import demand_one_person
from gatebook.federation.standing import Standing
from gatebook.model.bounded import Bounded
from gatebook.model.deployment import IdentityProvider
from gatebook.model.record import Origin
from gatebook.model.secret import Secret
from gatebook.serve.desk_http import book
from gatebook.serve.desk_http.ending import Where, end
from gatebook.serve.desk_http.secrets import client_secret
from gatebook.serve.desk_http.world import DeskWorld, in_thread
from gatebook.serve.diagnostics import say

TABLE = "logins"
RETRY_S = 30.0
"""A provider that did not answer is not asked again for one login before this: refreshes must not wait for its time-out each time."""
FAILURES_KEPT = 4096

_ENDS = frozenset(
    {Cause.PERSON_FOREIGN, Cause.PERSON_UNCLEAR, Cause.APPLICATION, Cause.SHARED_ACCOUNT, Cause.PROVIDER_ENDED}
)
"""What the provider may say of a person that ends the login. Anything else that cannot be believed counts as no answer."""


class Rereading:
    """One for the life of a desk."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Task[Standing | LoginRefused]] = {}
        self._failed_at = Bounded[str, float](FAILURES_KEPT)

    async def before_refresh(self, world: DeskWorld, refresh_token: str, client_id: str, origin: Origin) -> Standing:
        """How the groups behind this refresh token are known now. Nothing is asked for a token that is not genuine, not this client's, or over:
        it is refused anyway, by whoever judges it. Raises LoginRefused: PROVIDER_ENDED or the like (the login has ended, with its entries),
        PROVIDER_UNREACHABLE (nothing is given for now)."""
        found = refreshing.read(world.keys.refresh, refresh_token)
        grant = None if found is None else await in_thread(world.store.grant, found[0])
        if grant is None or grant.client_id != client_id or grant.revoked_at is not None:
            return Standing.AS_AT_LOGIN
        login = await in_thread(world.store.login, grant.login_id)
        if login is None or standing.is_idle(world.last_act_s(login, grant), world.desk.idle_s, world.now_s()):
            return Standing.AS_AT_LOGIN  # and a provider's session is not kept up for nobody
        return await self.of_login(world, grant.login_id, origin)

    async def of_login(self, world: DeskWorld, login_id: str, origin: Origin) -> Standing:
        """How the groups of this login are known now. Raises LoginRefused, as `before_refresh` does."""
        task = self._under_way.get(login_id)
        if task is None:
            task = asyncio.ensure_future(self._reread(world, login_id, origin))
            self._under_way[login_id] = task
            task.add_done_callback(lambda _: self._under_way.pop(login_id, None))
        # Others wait for it, too: one client's hang-up must not lose the provider's answer.
        answer = await asyncio.shield(task)
        if isinstance(answer, LoginRefused):
            raise LoginRefused(answer.cause, answer.words, hint=answer.hint)
        return answer

    async def _reread(self, world: DeskWorld, login_id: str, origin: Origin) -> Standing | LoginRefused:
        """The order is the proof; steps:"""
        # 1. The login as it is now is still good, and its provider has not been asked a moment ago.
        login, now_s = await in_thread(world.store.login, login_id), world.now_s()
        idp = None if login is None else world.idp_of(login)
        if login is None or login.revoked_at is not None or login.expires_at <= now_s or idp is None:
            return Standing.AS_AT_LOGIN  # it is refused by whoever judges the grant
        sealed = await in_thread(world.store.upstream, login_id)
        if sealed is None:
            return Standing.AS_AT_LOGIN
        if not standing.is_due(login, now_s):
            return Standing.READ
        if 0 <= now_s - self._failed_at.get(login_id, -RETRY_S) < RETRY_S:
            return self._without_answer(world, login, "it did not answer a moment ago")
        token = envelope.unseal(world.keys.upstream, TABLE, login_id, sealed)
        if token is None:
            words = "The identity provider cannot be asked about this login any more; log in again."
            return await self._ended(
                world, login, LoginRefused(Cause.PROVIDER_ENDED, words, hint="upstream.key"), origin
            )
        # 2. It is asked, and what asks it the next time is kept, whatever else it said.
        try:
            renewed = await self._renewed(world, idp, Secret(token.decode()))
        except PersonGone as gone:
            words = "The identity provider has ended this login; log in again."
            return await self._ended(world, login, LoginRefused(Cause.PROVIDER_ENDED, words, hint=str(gone)), origin)
        except ProviderFailed as failure:
            return self._without_answer(world, login, str(failure))
        kept = self.sealed(world, login_id, renewed.refresh_token)
        if not await in_thread(world.store.reread, login_id, sealed, login.seen, kept):
            return Standing.READ  # somebody else came first, or it was ended meanwhile
        # 3. It says who this is: the same person, with the groups of now. How they logged in is known from the login alone.
        try:
            tokens = await world.providers.who(idp, renewed, now_s=now_s)
            seen = _as_now(login, logged_in(tokens.claims, tokens.userinfo, idp), now_s)
            demand_one_person(seen, world.desk)
        except LoginRefused as refused:
            if refused.cause in _ENDS:
                return await self._ended(world, login, refused, origin)
            return self._without_answer(world, login, f"{refused.cause}: {refused.hint or refused.words}")
        except ProviderFailed as failure:
            return self._without_answer(world, login, str(failure))
        # 4. A change that some role rests on is in the book, then in force.
        await self._record_change(world, login, seen, origin)
        await in_thread(world.store.reread, login_id, kept, seen, kept)
        self._failed_at.pop(login_id, None)
        return Standing.READ

    async def _renewed(self, world: DeskWorld, idp: IdentityProvider, token: Secret[str]) -> Renewed:
        return await world.providers.renew(idp, refresh_token=token, secret=client_secret(world, idp))

    def sealed(self, world: DeskWorld, login_id: str, token: Secret[str]) -> bytes:
        """What is stored of a provider's refresh token."""
        nonce = world.random(envelope.NONCE_BYTES)
        return envelope.seal(world.keys.upstream, TABLE, login_id, token.reveal().encode(), nonce)

    def _without_answer(self, world: DeskWorld, login: Login, why: str) -> Standing | LoginRefused:
        now_s = world.now_s()
        said_already = 0 <= now_s - self._failed_at.get(login.id, -RETRY_S) < RETRY_S
        if not said_already:
            self._failed_at.keep(login.id, now_s)
            say("desk.provider_silent", idp=login.seen.idp, why=why)
        if standing.is_believed(login, world.desk.provider_grace_s, now_s):
            return Standing.UNREACHABLE
        words = "The identity provider has not answered for too long, so nothing is given; try again later."
        return LoginRefused(Cause.PROVIDER_UNREACHABLE, words, hint=why)

    async def _ended(self, world: DeskWorld, login: Login, why: LoginRefused, origin: Origin) -> LoginRefused:
        ended = await end(world, Where(login_id=login.id), str(why.cause), origin)
        # The login's own entry, too: it may have had no grant, and then nothing else would say that it is over.
        await world.ledger.record(
            book.login_ended(world, login, origin, everywhere=False, grants=len(ended), why=str(why.cause))
        )
        return why

    async def _record_change(self, world: DeskWorld, login: Login, seen: LoggedIn, origin: Origin) -> None:
        before = set(world.groups_of_roles(seen.idp, login.seen.groups))
        after = set(world.groups_of_roles(seen.idp, seen.groups))
        if before != after:
            await world.ledger.record(book.login_changed(world, login, seen, before - after, after - before, origin))


def _as_now(login: Login, fresh: LoggedIn, now_s: float) -> LoggedIn:
    """Raises LoginRefused(PROVIDER_ENDED) where it is another person."""
    if (fresh.person.issuer, fresh.person.subject) != (login.seen.person.issuer, login.seen.person.subject):
        raise LoginRefused(
            Cause.PROVIDER_ENDED, "The identity provider now says another person.", hint="another subject"
        )
    return msgspec.structs.replace(
        login.seen,
        person=fresh.person,
        groups=fresh.groups,
        groups_left_out=fresh.groups_left_out,
        shared=fresh.shared,
        read_at=now_s,
    )
