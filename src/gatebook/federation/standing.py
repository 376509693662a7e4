"""How long what a login proved may be believed, and what the provider's silence, a silent person and the end of a login mean. Pure rules.

A grant lives on refreshes, which no person sees. So at a refresh the desk asks the provider again, at most once in each access token's lifetime:
who was disabled there gets nothing more, and who lost a group loses it. A provider that does not answer is believed for a grace; then nothing is
given. And a person who has gone is noticed by calls, never by refreshes: programs refresh by themselves.
"""

from enum import StrEnum

from gatebook.federation.minting import LIFETIME_S
from gatebook.federation.records import Grant, Login


class Standing(StrEnum):
    """How a token's groups are known: for the entry's `standing`."""

    READ = "read"
    """The provider was asked, for this refresh or within the last access token's lifetime."""
    UNREACHABLE = "unreachable"
    """It did not answer; they are as it said last, within the grace."""
    AS_AT_LOGIN = "as_at_login"
    """It cannot be asked again: it gave no refresh token, or speaks a protocol that has none."""


def read_at(login: Login) -> float:
    """When the provider last said who this is."""
    return login.created_at if login.seen.read_at is None else login.seen.read_at


def is_due(login: Login, now_s: float) -> bool:
    """Whether the provider is to be asked again. A clock that was set back asks too early, never too late."""
    return not 0 <= now_s - read_at(login) < LIFETIME_S


def is_believed(login: Login, grace_s: float, now_s: float) -> bool:
    """Whether a provider that does not answer is still believed. Counted from its last word, so an outage of `grace_s` is survived by every
    login, also by one that was due when it began."""
    return now_s - read_at(login) <= grace_s + LIFETIME_S


def last_act_s(created_at: float, last_call_s: float | None) -> float:
    """When the person last did something: was there to get the grant, or called."""
    return created_at if last_call_s is None else max(created_at, last_call_s)


def is_idle(last_act: float, idle_s: float, now_s: float) -> bool:
    return now_s - last_act >= idle_s


def token_ends_at(grant: Grant, last_act: float, idle_s: float, now_s: float) -> float:
    """When a token that is made now must end: after LIFETIME_S, and no later than the login, nor than the idle time would without a call:
    else a refresh in its last second would lengthen it by a token's life."""
    return min(now_s + LIFETIME_S, grant.expires_at, last_act + idle_s)
