"""Call + principal + roles → Permit or Deny: pure, total, default deny.

`decide` answers one question; `may_see` filters lists with the same grants. `globs` and `uris` say what a pattern
matches and which URIs are refused before any pattern is tried, `methods` what each MCP method reaches for, `roles` who holds a role.
"""

from gatebook.model.decision import Asking, Decision, Deny, Permit
from gatebook.policy.decide import Policy, PolicyView, compiled, decide, may_see, view
from gatebook.policy.globs import Globs, glob_problem, matches
from gatebook.policy.uris import suspicious_uri

__all__ = [
    "Asking",
    "Decision",
    "Deny",
    "Globs",
    "Permit",
    "Policy",
    "PolicyView",
    "compiled",
    "decide",
    "glob_problem",
    "matches",
    "may_see",
    "suspicious_uri",
    "view",
]
