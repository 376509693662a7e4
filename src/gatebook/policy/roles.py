"""Who holds a role: exact comparison of what the issuer says, never a pattern."""

from gatebook.model.deployment import Match, Role
from gatebook.model.principal import Principal


def holds(role: Role, principal: Principal) -> bool:
    """Whether any of the role's matches holds in full."""
    return any(unmet(match, principal) is None for match in role.match)


def unmet(match: Match, principal: Principal) -> str | None:
    """The first condition of `match` that does not hold, in words; None where all hold.

    A match without any condition but the issuer holds for nobody: it would give the role to all whom that issuer knows."""
    if match.issuer != principal.issuer_name:
        return f"is for issuer {match.issuer}, the caller came from {principal.issuer_name}"
    if match.group is None and match.subject is None and not match.claims:
        return "names no group, subject or claim, so it holds for nobody"
    if match.group is not None and match.group not in principal.groups:
        return f"wants group {match.group!r}, which the caller's token does not name"
    if match.subject is not None and match.subject != principal.subject:
        return "wants another subject"
    for name, value in match.claims.items():
        if name not in principal.claims:
            return f"wants claim {name!r}, which the caller's token does not have"
        if principal.claims[name] != value:
            return f"wants claim {name!r} to be {value!r}, which it is not"
    return None
