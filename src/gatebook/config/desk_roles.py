"""`[[desk_role]]`: who may do what at the desk itself; from the file to the deployment, and what several keys together must be."""

from collections.abc import Iterator
from typing import Literal

from gatebook.config import schema
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reading import Read
from gatebook.model.deployment import DeskRole, Match


def desk_roles_of(file: schema.File) -> tuple[DeskRole, ...]:
    """As the deployment has them."""
    return tuple(
        DeskRole(
            role=role.role,
            match=tuple(Match(issuer=match.issuer, group=match.group, subject=match.subject) for match in role.match),
            mfa=_mfa(file, role),
        )
        for role in file.desk_role
    )


def _mfa(file: schema.File, role: schema.DeskRole) -> Literal["proven"] | None:
    """PCI DSS 8.4.2: whoever reads the log of a card environment has proven several factors. So in `pci` there is nothing to turn off."""
    return "proven" if file.profile == "pci" else role.mfa


def problems(read: Read, file: schema.File) -> Iterator[Problem]:
    """Every match names one of our idps, and a group or a subject there: those are what the desk knows of a person."""
    if file.desk is None:
        if file.desk_role and "desk" not in read.faulty:
            yield warning("desk_role", "has no effect without [desk]", "write [desk], or remove it")
        return
    provable = {idp.name for idp in file.idp if idp.mfa.amr or idp.mfa.acr}
    for number, role in enumerate(file.desk_role):
        if not role.match:
            where = read.where("desk_role", number, "match")
            yield warning(where, "is empty, so nobody holds the role", "fill it, or remove the role")
        for index, match in enumerate(role.match):
            where = read.where("desk_role", number, "match", index)
            if match.issuer not in read.names["idp"]:
                mend = "people of the desk log in at an [[idp]]: write the name of one"
                yield error(
                    read.where("desk_role", number, "match", index, "issuer"), "names no idp of this file", mend
                )
            elif _mfa(file, role) is not None and match.issuer not in provable:
                what = "demands mfa, and that idp has no evidence that would prove it, so nobody holds the role by this"
                yield warning(where, what, f"write amr or acr into the mfa of the idp {match.issuer}")
            if match.claims:
                yield error(where, "rests on claims", "the desk knows groups and subjects: give one of those")
            elif match.group is None and match.subject is None:
                yield error(where, "matches everybody who logs in", "give a group or a subject")
    if file.desk.payload_key is not None and file.profile == "pci":
        what = "lets the desk open every recording, and so whoever takes it over"
        yield warning(
            read.where("desk", "payload_key"), what, "keep the key elsewhere, unless recordings are read here daily"
        )
