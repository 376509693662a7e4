"""The end of logins and grants: by person, client, server, login or grant, whoever decides it. In force at every worker when it returns."""

import msgspec

from gatebook.federation.records import Grant
from gatebook.model.record import Origin, Who
from gatebook.serve.desk_http import book
from gatebook.serve.desk_http.world import DeskWorld, in_thread


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Which grants end: those to which everything given applies; at least one thing is given. With a `person` or a `login_id` and nothing
    narrower, the logins end too, so that no browser goes on with them. `person`: (issuer URL of the provider, immutable id there).
    `agreed_too`: what was agreed to is forgotten with them."""

    sid: str | None = None
    login_id: str | None = None
    person: tuple[str, str] | None = None
    client_id: str | None = None
    server: str | None = None
    agreed_too: bool = False


async def end(world: DeskWorld, where: Where, why: str, origin: Origin, *, who: Who | None = None) -> tuple[Grant, ...]:
    """The grants that ended now. `why` goes into store and entries: a word such as `by_admin`. `who`: whose act it is; the person of each
    grant where nobody else is given.

    When this returns every worker refuses their tokens, open streams are being cut, and an entry for each is durable; where they cannot be
    recorded, LedgerUnavailable is raised, and they have ended all the same. Idempotent. Raises StoreUnavailable, ValueError where `where` says nothing.
    """
    ended = await in_thread(world.store.revoke, why, world.now_s(), **msgspec.structs.asdict(where))
    # First out of force, then into the book: a book that cannot be written must not keep an end from the workers.
    if ended:
        await world.revoked()
    for grant in ended:
        login = await in_thread(world.store.login, grant.login_id)
        await world.ledger.record(book.revoked(world, login, grant, origin, why, who=who))
    return ended
