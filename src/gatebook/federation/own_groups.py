"""Where the groups of a person come from and as of when, for the page "how I am seen". Pure."""

from typing import Literal

import msgspec

from gatebook.federation.presets import PRESETS
from gatebook.federation.records import Login
from gatebook.federation.saml.people import groups_attribute
from gatebook.federation.standing import Standing, read_at
from gatebook.model.deployment import IdentityProvider


class GroupsSource(msgspec.Struct, frozen=True, kw_only=True):
    """`name`: of the claim (OpenID Connect) or attribute (SAML); `read_at`: seconds since the epoch; `standing`: whether it is read again."""

    kind: Literal["claim", "attribute"]
    name: str
    read_at: float
    standing: Standing


def groups_source(login: Login, idp: IdentityProvider, standing: Standing) -> GroupsSource | None:
    """None where this kind of provider sends no groups."""
    if idp.saml is not None:
        return GroupsSource(kind="attribute", name=groups_attribute(idp), read_at=read_at(login), standing=standing)
    if not PRESETS[idp.preset].groups:
        return None
    return GroupsSource(kind="claim", name=idp.groups_claim, read_at=read_at(login), standing=standing)
