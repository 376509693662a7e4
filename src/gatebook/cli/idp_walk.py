"""A login at an identity provider, step by step and in words. What a step found is said before the next one begins."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec

from gatebook.federation import binding
from gatebook.federation.errors import Cause, LoginRefused, ProviderFailed
from gatebook.federation.people import logged_in
from gatebook.federation.ports import Providers
from gatebook.federation.presets import PRESETS
from gatebook.federation.records import LoggedIn
from gatebook.identity.errors import KeySetRefused
from gatebook.identity.keysets import acceptable_key_set
from gatebook.model.deployment import Deployment, DeskRole, IdentityProvider, Issuer, KeySet, Match, Role
from gatebook.model.errors import UpstreamError
from gatebook.model.secret import Secret

MEND: Final[dict[Cause, str]] = {
    Cause.PROVIDER_REFUSED: "look at the client there: its secret, its redirect URI, and who may use it",
    Cause.ID_TOKEN_INVALID: "compare url, client_id and algorithms of the [[idp]] with the client there",
    Cause.NONCE_WRONG: "the answer belongs to another login: begin again in one browser tab",
    Cause.PERSON_UNCLEAR: "the ID token must name the person by the preset's claim: is `preset` the right one?",
    Cause.PERSON_FOREIGN: "log in with an account of your own organisation, or correct `url` or `domain` of the [[idp]]",
    Cause.APPLICATION: "log in as a person: service accounts do not log in here",
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step. `ok` None: nothing wrong, and worth a look."""

    ok: bool | None
    what: str
    found: str
    mend: str = ""


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What the walk needs of the world. `answer(url)`: sends the person to `url` and gives the parameters that come back."""

    providers: Callable[[KeySet], Providers]
    keys: Callable[[Issuer], Awaitable[bytes]]
    secret: Callable[[], Secret[bytes] | None]
    answer: Callable[[str], Awaitable[dict[str, str]]]
    redirect: str
    now: Callable[[], float]


async def walk(deployment: Deployment, idp: IdentityProvider, tools: Tools, *, log_in: bool) -> AsyncIterator[Step]:
    """Secret → keys → discovery → the person's login → the ID token → the person → roles. The first step that fails is the last."""
    # 1. What we are there.
    try:
        secret = tools.secret()
    except UpstreamError as failure:
        yield Step(ok=False, what="client secret", found=failure.words, mend="put the secret where client_secret says")
        return
    yield Step(
        ok=True, what="client secret", found="read" if secret is not None else "none: a public client, by PKCE alone"
    )
    # 2. Discovery and keys, as the desk fetches them.
    issuer = Issuer(name=idp.name, url=idp.url, kind="person", algorithms=idp.algorithms, ca_file=idp.ca_file)
    try:
        jwks = acceptable_key_set(await tools.keys(issuer))
    except KeySetRefused as refused:
        yield Step(
            ok=False,
            what="keys",
            found=str(refused),
            mend="url must be the issuer as its discovery document says it, to the slash",
        )
        return
    key_set = KeySet(jwks=jwks, fetched_at=tools.now())
    yield Step(ok=True, what="keys", found=_kids(jwks))
    # 3. Where the browser goes.
    providers = tools.providers(key_set)
    browser, handle = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    state = binding.state_of(browser, handle, idp.name)
    nonce, verifier = binding.nonce_of(browser, handle, idp.name), binding.verifier_of(browser, handle, idp.name)
    asked = {
        "response_type": "code", "client_id": idp.client_id, "redirect_uri": tools.redirect, "scope": " ".join(idp.scopes),
        "state": state, "nonce": nonce, "code_challenge": binding.challenge_of(verifier), "code_challenge_method": "S256",
    }  # fmt: skip
    try:
        url = await providers.authorize_url(idp, asked)
    except ProviderFailed as failure:
        yield Step(
            ok=False,
            what="discovery",
            found=str(failure),
            mend="url must be the issuer, to the slash, and reachable from here",
        )
        return
    yield Step(ok=True, what="discovery", found=f"login at {url.partition('?')[0]}, asking for {' '.join(idp.scopes)}")
    yield Step(
        ok=None, what="redirect", found=f"{tools.redirect} must be registered for the client {idp.client_id} there"
    )
    if not log_in:
        return
    # 4. The person logs in.
    answer = await tools.answer(url)
    if "code" not in answer:
        yield Step(
            ok=False,
            what="login",
            found=f"the provider said {answer.get('error', 'nothing')[:60]}",
            mend=MEND[Cause.PROVIDER_REFUSED],
        )
        return
    if not binding.same(answer.get("state", ""), state) or answer.get("iss", idp.url) != idp.url:
        yield Step(
            ok=False,
            what="login",
            found="the answer belongs to another login or provider",
            mend=MEND[Cause.NONCE_WRONG],
        )
        return
    yield Step(ok=True, what="login", found="came back with a code")
    # 5. The code becomes an ID token that verifies, 6. and that a person.
    try:
        tokens = await providers.redeem(
            idp, code=answer["code"], redirect_uri=tools.redirect, verifier=verifier, nonce=nonce, secret=secret, now_s=tools.now()
        )  # fmt: skip
        yield Step(ok=True, what="ID token", found=f"verified; claims: {', '.join(sorted(tokens.claims))}")
        if tokens.userinfo is not None:
            yield Step(ok=None, what="UserInfo", found=f"claims: {', '.join(sorted(tokens.userinfo))}")
        seen = logged_in(tokens.claims, tokens.userinfo, idp)
    except LoginRefused as refused:
        found = f"{refused.words} ({refused.cause}{': ' + refused.hint if refused.hint else ''})"
        yield Step(ok=False, what="ID token", found=found, mend=MEND.get(refused.cause, "see docs/howto/login.md"))
        return
    except ProviderFailed as failure:
        yield Step(
            ok=False, what="ID token", found=str(failure), mend="try again; the provider did not answer as it should"
        )
        return
    for step in _person(seen, idp, dict(tokens.claims)):
        yield step
    for step in _roles(seen, deployment):
        yield step


def _kids(jwks: str) -> str:
    keys = msgspec.json.decode(jwks)["keys"]
    return f"{len(keys)} that may be used: {', '.join(str(key.get('kid')) for key in keys)}"


def _person(seen: LoggedIn, idp: IdentityProvider, claims: dict[str, Any]) -> list[Step]:
    name = next((name for name in PRESETS[idp.preset].subject if name in claims), "sub")
    steps = [
        Step(
            ok=True,
            what="person",
            found=f"{seen.person.subject} (claim {name}); shown as {seen.person.label or 'nothing'}",
        )
    ]
    if seen.groups_left_out:
        mend = "let the provider send fewer (assign groups to the application), or match roles by subject"
        steps.append(
            Step(
                ok=False,
                what="groups",
                found="the provider left groups out: there are too many, so there are none",
                mend=mend,
            )
        )
    elif not seen.groups:
        mend = f"let the provider put a list into the claim {idp.groups_claim}, or name its claim by groups_claim, or match by subject"
        steps.append(Step(ok=None, what="groups", found=f"no claim {idp.groups_claim}, or an empty one", mend=mend))
    else:
        steps.append(Step(ok=True, what="groups", found=", ".join(seen.groups)))
    evidence = [
        f"amr {' '.join(seen.evidence.amr)}" if seen.evidence.amr else "",
        f"acr {seen.evidence.acr}" if seen.evidence.acr else "",
    ]
    told = ", ".join(filter(None, evidence)) or "no amr, no acr"
    mend = (
        ""
        if seen.mfa == "proven"
        else "where this login had a second factor, name its value in mfa.amr or mfa.acr of the [[idp]]"
    )
    steps.append(Step(ok=seen.mfa == "proven" or None, what="MFA", found=f"{seen.mfa}: {told}", mend=mend))
    return steps


def _at_desk(role: DeskRole, seen: LoggedIn) -> str:
    return (
        role.role
        if role.mfa is None or seen.mfa == "proven"
        else f"{role.role} (not without mfa, which this login did not prove)"
    )


def _roles(seen: LoggedIn, deployment: Deployment) -> list[Step]:
    def holds(matches: tuple[Match, ...]) -> bool:
        return any(
            match.issuer == seen.idp
            and not match.claims
            and (match.group is not None or match.subject is not None)
            and (match.group is None or match.group in seen.groups)
            and (match.subject is None or match.subject == seen.person.subject)
            for match in matches
        )

    def named(roles: tuple[Role, ...] | tuple[DeskRole, ...]) -> str:
        held = [role.name if isinstance(role, Role) else _at_desk(role, seen) for role in roles if holds(role.match)]
        return ", ".join(held)

    servers, desk = named(deployment.roles), named(deployment.desk_roles)
    mend = "" if servers else "a role's match must name one of the groups above, or the subject, to the letter"
    return [
        Step(ok=bool(servers) or None, what="roles", found=servers or "none: this person may call nothing", mend=mend),
        Step(
            ok=True if desk else None,
            what="at the desk",
            found=desk or "none: this person may log in, and read nothing",
        ),
    ]
