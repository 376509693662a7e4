"""What is known of each kind of identity provider: a table. `people` reads it; a new provider is a new row."""

from typing import Final

import msgspec

from gatebook.model.deployment import Preset


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of provider says things. `subject`: the claims of which the first that is there names a person for good;
    `tenant`: a claim that must be the first part of the issuer URL's path; `cut_at`: a list of exactly this many groups was cut off, silently;
    `userinfo`: groups may stand in the UserInfo response only; `groups`: False where it sends none in OIDC."""

    scopes: tuple[str, ...] = ("openid", "profile", "email")
    subject: tuple[str, ...] = ("sub",)
    tenant: str | None = None
    domain: str | None = None
    cut_at: int | None = None
    userinfo: bool = True
    groups: bool = True
    label: tuple[str, ...] = ("email", "preferred_username", "name")
    offline: tuple[tuple[str, str], ...] = ()
    """What else an authorization request must say for a refresh token to come, with which the provider can be asked again."""
    offline_scope: bool = True
    """Whether it gives one only for the scope `offline_access`."""


OFFLINE: Final = "offline_access"

PRESETS: Final[dict[Preset, Way]] = {
    # With an access token beside it, Okta's ID token is thin: groups come by UserInfo. More than 100 are cut without a word.
    "okta": Way(scopes=("openid", "profile", "email", "groups", OFFLINE), cut_at=100),
    # `sub` differs for each application; `oid` is the person in the tenant. E-mail is not verified and may be set by the person.
    "entra": Way(
        scopes=("openid", "profile", "email", OFFLINE),
        subject=("oid",),
        tenant="tid",
        userinfo=False,
        label=("preferred_username", "name"),
    ),
    # Consumer accounts have no `hd`. Groups are not in OIDC at all.
    # It knows no `offline_access`, and gives a refresh token at a login only where the person is asked for it.
    "google": Way(
        domain="hd",
        userinfo=False,
        groups=False,
        offline=(("access_type", "offline"), ("prompt", "consent")),
        offline_scope=False,
    ),
    # A refresh token comes with every login, and ends with the session there: `offline_access` would make it outlive that.
    "keycloak": Way(offline_scope=False),
    # `amr` is there on the login itself only: the desk takes evidence at login and nowhere else.
    "auth0": Way(scopes=("openid", "profile", "email", OFFLINE)),
    # OIDC Core §11: `offline_access` counts only where the person is asked for consent.
    "generic": Way(scopes=("openid", "profile", "email", OFFLINE), offline=(("prompt", "consent"),)),
}
