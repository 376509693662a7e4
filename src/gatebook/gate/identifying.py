"""Who asks: an Arrival becomes a Caller, by its bearer token and nothing else."""

import msgspec

from gatebook.gate.refusal import Refused
from gatebook.gate.world import Known, Standing, World
from gatebook.identity.bearer import read_bearer
from gatebook.identity.errors import TokenRefused
from gatebook.identity.sessions import session_key
from gatebook.identity.tokens import Judged
from gatebook.masking import mask_text, recordable
from gatebook.model.deployment import Server
from gatebook.model.errors import Reason
from gatebook.model.http import Arrival
from gatebook.model.principal import Principal
from gatebook.model.record import Origin, Who
from gatebook.policy import PolicyView, view
from gatebook.ports import Instant

CLIENT_NAME_CHARS = 120
"""What is cut is masked before: half a card number is one that no detector knows."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """An identified caller at one server, judged by one standing; `session` is the recording session the call belongs to."""

    server: Server
    principal: Principal
    standing: Standing
    session: str
    who: Who
    origin: Origin
    permits: PolicyView
    """What the principal may do on this server."""


def identify(arrival: Arrival, server: Server, standing: Standing, world: World) -> Caller:
    """The caller behind the request's bearer token. Raises TokenRefused (a CallerError) and nothing else for a bad credential."""
    now = time_of(standing, world)
    known = arrival.said.get("known")
    if not (isinstance(known, Known) and known.holds(arrival, server, standing, now.unix_us / 1_000_000)):
        known = arrival.said["known"] = _verified(arrival, server, standing, now.unix_s, world)
    if (sid := known.judged.principal.sid) is not None:
        _demand_not_revoked(sid, world)
    session = world.sessions.touch(known.session_key, now.unix_us)
    caller = arrival.said.get("caller")
    if isinstance(caller, Caller) and caller.session == session and caller.who is known.who:
        return caller
    caller = arrival.said["caller"] = Caller(
        server=server,
        principal=known.principal,
        standing=standing,
        session=session,
        who=known.who,
        origin=known.origin,
        permits=view(known.principal, server.name, standing.snapshot.deployment),
    )
    return caller


def session_of(known: Known, arrival: Arrival, now: Instant, world: World) -> str | None:
    """The recording session of one more call with a head of which `known` tells, by the standing that is in force; None where the head must be
    judged anew. Raises TokenRefused."""
    if known.ip != arrival.client_ip or now.unix_us / 1_000_000 >= known.judged.good_until:
        return None
    if (sid := known.judged.principal.sid) is not None:
        _demand_not_revoked(sid, world)
    return world.sessions.touch(known.session_key, now.unix_us)


def time_of(standing: Standing, world: World) -> Instant:
    """The time at which an arrival is judged. Raises Refused where nobody may be judged now."""
    now = world.clock.now()
    if standing.snapshot.deployment.profile == "pci" and not now.clocked.ok:
        raise Refused(
            Reason.CLOCK_UNSYNCHRONISED
        )  # PCI DSS 10.6: an entry whose time nobody keeps in step is no evidence
    return now


def _demand_not_revoked(sid: str, world: World) -> None:
    """At every call and after every cache: a revoked login is refused at its next call. Raises TokenRefused."""
    trust = world.trust()
    if trust is None:
        raise TokenRefused(Reason.KEYS_UNAVAILABLE, "Which logins were ended is not known at present.")
    if sid in trust.revoked:
        raise TokenRefused(Reason.LOGIN_REVOKED, "The login was ended; log in again.")


def _verified(arrival: Arrival, server: Server, standing: Standing, now_s: float, world: World) -> Known:
    judged = standing.verifier.judge(read_bearer(arrival.headers, arrival.target), server, now_s)
    key = (id(judged), arrival.client_ip, arrival.header(b"user-agent"))
    known = standing.known.get(key)
    # What is kept holds its object, so that the number can mean no other.
    if known is None or known.judged is not judged:
        known = standing.known.keep(key, _written_down(judged, arrival, server, standing, world))
    return known


def _written_down(judged: Judged, arrival: Arrival, server: Server, standing: Standing, world: World) -> Known:
    principal, key = judged.principal, world.fingerprint.key
    who = Who(
        kind=principal.kind,
        iss=principal.issuer,
        sub=recordable(principal.subject, key),
        agent=recordable(principal.agent, key) if principal.agent else None,
        login=recordable(principal.login, key),
        amr=tuple(recordable(method, key) for method in principal.evidence.amr),
        acr=recordable(principal.evidence.acr, key) if principal.evidence.acr else None,
        auth_time=principal.evidence.auth_time,
        acting_for=recordable(principal.acting_for, key) if principal.acting_for else None,
    )
    return Known(
        standing=standing,
        server=server,
        ip=arrival.client_ip,
        judged=judged,
        who=who,
        origin=origin_of(arrival),
        session_key=_session_key(principal, server),
    )


def origin_of(arrival: Arrival) -> Origin:
    """Where the request came from, for the book; what the client says of itself is masked, printable and cut."""
    agent = (arrival.header(b"user-agent") or b"").decode("latin-1")
    text, _ = mask_text("".join(c for c in agent if c.isprintable()))
    return Origin(ip=arrival.client_ip, client=text[:CLIENT_NAME_CHARS] or None)


def _session_key(principal: Principal, server: Server) -> bytes:
    return session_key(
        principal.issuer, principal.subject, principal.agent, principal.login, server.name, job=principal.kind == "job"
    )


def by_standing(caller: Caller, standing: Standing, server: Server) -> Caller:
    """The caller as another standing sees him, in which `server` is the one he calls."""
    permits = view(caller.principal, server.name, standing.snapshot.deployment)
    return msgspec.structs.replace(caller, standing=standing, server=server, permits=permits)
