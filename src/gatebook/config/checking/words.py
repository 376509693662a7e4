"""How a problem is said: how grave it is, and what the system said."""

import ssl

from gatebook.config.problem import Problem, error, warning
from gatebook.model.deployment import Deployment


def grave(deployment: Deployment, where: str, what: str, mend: str) -> Problem:
    """An error in pci, a warning in dev."""
    return (error if deployment.profile == "pci" else warning)(where, what, mend)


def why_of(failure: Exception) -> str:
    """What the system says, without what it quotes."""
    if isinstance(failure, ssl.SSLError):
        return failure.reason or "TLS error"
    if isinstance(failure, OSError):
        return failure.strerror or type(failure).__name__
    return "it is not what it should be"
