"""One person at two places at once: other logins of theirs that are in use when they log in. It is noted, never refused.

A laptop and a terminal on another machine are two places of one person, and so are two people with one password. Nobody can tell from here; the
entries of a shared account show it, by how often and from where.
"""

from gatebook.federation.records import Login
from gatebook.federation.standing import is_idle
from gatebook.serve.desk_http.world import DeskWorld, in_thread


async def in_use_beside(world: DeskWorld, login: Login, earlier: str | None) -> int:
    """How many other logins of this person have a grant with which something was done within `idle_s`. `earlier`: the login that this one takes the
    place of in the same browser; it is no other place."""
    person, now_s = login.seen.person, world.now_s()
    grants = await in_thread(world.store.live_grants_of, person.issuer, person.subject, now_s)
    used: set[str] = set()
    for login_id in {grant.login_id for grant in grants} - {login.id, earlier}:
        other = await in_thread(world.store.login, login_id)
        acts = [world.last_act_s(other, grant) for grant in grants if other is not None and grant.login_id == login_id]
        if acts and not is_idle(max(acts), world.desk.idle_s, now_s):
            used.add(login_id)
    return len(used)
