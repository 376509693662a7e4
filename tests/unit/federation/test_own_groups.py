"""Where a person's groups come from, as the page tells it."""

import pytest

from gatebook.federation.own_groups import groups_source
from gatebook.federation.records import LoggedIn, Login, Person
from gatebook.federation.standing import Standing
from gatebook.model.deployment import IdentityProvider, Preset, SamlSide

IDP = "https://idp.example"


def login(read_at: float | None = None) -> Login:
    seen = LoggedIn(person=Person(issuer=IDP, subject="00u1"), idp="corp", read_at=read_at)
    return Login(id="1", seen=seen, browser_hash="", created_at=1_000.0, expires_at=9_000.0)


def idp(preset: Preset = "generic", saml: SamlSide | None = None, groups_claim: str = "groups") -> IdentityProvider:
    return IdentityProvider(name="corp", url=IDP, preset=preset, saml=saml, groups_claim=groups_claim)


@pytest.mark.parametrize(
    ("provider", "told"),
    [
        (idp(groups_claim="https://x/groups"), ("claim", "https://x/groups")),
        (idp("google"), None),
        (idp("google", SamlSide()), ("attribute", "groups")),
        (idp("auth0", SamlSide(), groups_claim="never"), ("attribute", "http://schemas.auth0.com/groups")),
        (idp("auth0", SamlSide(groups="memberOf")), ("attribute", "memberOf")),
    ],
)
def test_it_is_called_as_the_provider_calls_it(provider: IdentityProvider, told: tuple[str, str] | None) -> None:
    found = groups_source(login(), provider, Standing.AS_AT_LOGIN)
    assert (found and (found.kind, found.name)) == told


@pytest.mark.parametrize(("read_at", "told"), [(None, 1_000.0), (1_300.0, 1_300.0)])
def test_it_is_as_of_the_last_reading(read_at: float | None, told: float) -> None:
    found = groups_source(login(read_at), idp(), Standing.READ)
    assert found is not None and (found.read_at, found.standing) == (told, "read")
