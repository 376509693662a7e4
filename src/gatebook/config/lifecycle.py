"""How long logins live: what `pci` demands, and what a provider cannot give."""

from collections.abc import Iterator

from gatebook.config import idps_schema, schema, servers_schema
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reading import Read
from gatebook.federation.presets import OFFLINE, PRESETS

PCI_IDLE_S = 900
"""PCI DSS 8.2.8."""


def demanded_by_pci(read: Read, desk: schema.Desk) -> Iterator[Problem]:
    if desk.idle_s > PCI_IDLE_S:
        yield error(
            read.where("desk", "idle_s"), "is more than 900, the most that the pci profile allows", "lower it to 900"
        )
    if desk.shared_accounts == "mark":
        what = "lets accounts log in that are not one person's"
        yield error(read.where("desk", "shared_accounts"), what, "the pci profile refuses them; remove it")


def of_idp(read: Read, idp: idps_schema.Idp, number: int) -> Iterator[Problem]:
    """Whether the provider can be asked again at a refresh."""
    way = PRESETS[idp.preset]
    if idp.scopes is not None and way.offline_scope and OFFLINE not in idp.scopes:
        what = (
            "does not name offline_access, so the provider cannot be asked again: who is disabled there, or loses a group, is noticed "
            "when the login ends"
        )
        yield warning(read.where("idp", number, "scopes"), what, f"add {OFFLINE}, or lower desk.login_s")
    if idp.scopes is not None and not way.offline_scope and OFFLINE in idp.scopes:
        what = "names offline_access, which this kind of provider needs not"
        mend = "remove it: Google does not know it, and Keycloak's token would outlive its session"
        yield warning(read.where("idp", number, "scopes"), what, mend)


def of_tool(file: schema.File, rule: servers_schema.ToolRule, where: str) -> Iterator[Problem]:
    """Whether anybody can give the proof that a tool's rule demands."""
    if rule.mfa_max_age_s is not None and rule.mfa is None:
        yield error(where, "has mfa_max_age_s without mfa", 'write mfa = "proven", or remove it')
    if rule.mfa is None:
        return
    if file.desk is None:
        yield error(
            where, "demands mfa, which only a login at the desk can prove", "write [desk] and [[idp]], or remove mfa"
        )
    elif file.idp and not any(idp.mfa.amr or idp.mfa.acr for idp in file.idp):
        what = "demands mfa, and no idp has evidence that would prove it, so nobody can call"
        yield error(where, what, "write amr or acr into the mfa of an idp")
