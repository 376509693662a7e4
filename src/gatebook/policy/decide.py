"""The walk: which roles does the principal hold, what do they grant on this server, does one grant cover what is asked?

Everything that is not permitted is denied. The cost of a repeated question is two dictionary look-ups: role matching is done once per
principal and policy, the walk over the grants once per name and set of roles. Every cache is bounded and holds only answers that the
same walk would give again.
"""

from typing import Final, Literal

from gatebook.model.decision import Asking, Decision, Deny, Permit, TargetKind
from gatebook.model.deployment import Allow, Deployment, Role
from gatebook.model.errors import Reason
from gatebook.model.principal import Principal
from gatebook.policy.globs import Globs
from gatebook.policy.methods import KINDS
from gatebook.policy.roles import holds
from gatebook.policy.uris import suspicious_name, suspicious_uri

Listed = Literal["tool", "resource", "prompt"]

_PRINCIPALS_KEPT: Final = 16_384
_VIEWS_KEPT: Final = 4_096
_ANSWERS_KEPT: Final = 1_024
_NAME_KEPT: Final = 256
"""Longer names are decided anew each time: a megabyte of name must not live in a cache."""

_DENIED: Final = Deny(reason=Reason.DENIED)
_METHOD_UNKNOWN: Final = Deny(reason=Reason.METHOD_UNKNOWN)

EVERYTHING = "**"


class Grant:
    """One `allow` of one role, compiled. `rule` is its name in the records."""

    __slots__ = ("every_tool", "methods", "objects", "rule")

    def __init__(self, role: str, index: int, allow: Allow) -> None:
        self.rule = f"role:{role}/allow[{index}]"
        self.methods = Globs(allow.methods)
        self.every_tool = EVERYTHING in allow.tools
        self.objects: dict[str, Globs] = {
            "tool": Globs(allow.tools),
            "resource": Globs(allow.resources),
            "prompt": Globs(allow.prompts),
        }

    def covers(self, asking: Asking) -> bool:
        """Whether this grant permits what is asked, whose kind and URI were found sound."""
        match asking.target_kind:
            case "lifecycle" | "list":
                return True
            case "listen":
                return asking.name is None or self.objects["resource"].matches(asking.name)
            case "task":
                # A task's id says neither whose task it is nor which tool's: only who may use every tool may ask for any.
                return self.every_tool
            case "method":
                return self.methods.matches(asking.method)
            case _:
                return asking.name is not None and self.objects[asking.target_kind].matches(asking.name)


class PolicyView:
    """What one set of roles may do on one server. Shared by every principal who holds exactly these roles."""

    __slots__ = ("_answers", "_permits", "grants", "known", "roles", "server")

    def __init__(self, server: str, roles: tuple[str, ...], grants: tuple[Grant, ...], *, known: bool) -> None:
        self.server = server
        self.roles = roles
        self.grants = grants
        self.known = known
        self._answers: dict[tuple[str, str, str | None], Decision] = {}
        self._permits = tuple(Permit(rule=grant.rule, roles=roles) for grant in grants)

    def decide(self, asking: Asking) -> Decision:
        """The answer for `asking`, which is about this view's server. Never raises."""
        return self.answer(asking.target_kind, asking.method, asking.name)

    def answer(self, kind: TargetKind, method: str, name: str | None) -> Decision:
        """As `decide`, for a question taken apart."""
        answer = self._answers.get((kind, method, name))
        if answer is None:
            answer = self._walk(Asking(server=self.server, method=method, target_kind=kind, name=name))
            if len(name or "") + len(method) <= _NAME_KEPT:
                if len(self._answers) >= _ANSWERS_KEPT:
                    self._answers.clear()
                self._answers[(kind, method, name)] = answer
        return answer

    def may_see(self, kind: Listed, name: str) -> bool:
        """Whether an object stands in the lists that these roles get to see: exactly where it could be used."""
        return isinstance(
            self.decide(Asking(server=self.server, method=_USES[kind], target_kind=kind, name=name)), Permit
        )

    def _walk(self, asking: Asking) -> Decision:
        if not self.grants:
            return _DENIED
        if refused := _unsound(asking):
            return refused
        for grant, permit in zip(self.grants, self._permits, strict=True):
            if grant.covers(asking):
                return permit
        return _METHOD_UNKNOWN if asking.target_kind == "method" else _DENIED


class Policy:
    """The roles of one deployment, compiled. Holds for one snapshot; make a new one for the next."""

    def __init__(self, deployment: Deployment) -> None:
        self._roles = deployment.roles
        self._servers = frozenset(server.name for server in deployment.servers)
        self._grants = tuple(_grants_by_server(role) for role in deployment.roles)
        self._held: dict[int, tuple[Principal, tuple[int, ...]]] = {}
        self._views: dict[tuple[str, tuple[int, ...]], PolicyView] = {}

    def decide(self, asking: Asking, principal: Principal) -> Decision:
        """The answer for one question. Total: whatever is not granted is a Deny; never raises."""
        return self.view(principal, asking.server).decide(asking)

    def roles_of(self, principal: Principal) -> tuple[str, ...]:
        """The names of the roles that the principal holds, in the order of the file."""
        return tuple(self._roles[index].name for index in self._held_by(principal))

    def view(self, principal: Principal, server: str) -> PolicyView:
        """What the principal may do on `server`; ask it in a loop when a list is filtered."""
        held = self._held_by(principal)
        view = self._views.get((server, held))
        if view is None:
            view = self._compile(server, held)
            if view.known:
                if len(self._views) >= _VIEWS_KEPT:
                    self._views.clear()
                self._views[(server, held)] = view
        return view

    def _held_by(self, principal: Principal) -> tuple[int, ...]:
        """The places of the roles held. Remembered per object: token verification hands out one Principal per token, and the entry keeps
        it alive, so that its id cannot come to mean another."""
        kept = self._held.get(id(principal))
        if kept is not None and kept[0] is principal:
            return kept[1]
        held = tuple(index for index, role in enumerate(self._roles) if holds(role, principal))
        if len(self._held) >= _PRINCIPALS_KEPT:
            self._held.clear()
        self._held[id(principal)] = (principal, held)
        return held

    def _compile(self, server: str, held: tuple[int, ...]) -> PolicyView:
        known = server in self._servers
        grants = tuple(grant for index in held for grant in self._grants[index].get(server, ())) if known else ()
        return PolicyView(server, tuple(self._roles[index].name for index in held), grants, known=known)


def _grants_by_server(role: Role) -> dict[str, list[Grant]]:
    grants: dict[str, list[Grant]] = {}
    for index, allow in enumerate(role.allow):
        grants.setdefault(allow.server, []).append(Grant(role.name, index, allow))
    return grants


def _unsound(asking: Asking) -> Deny | None:
    """The refusal of a question that no grant may answer: a kind that is not the method's, an object without a name, a URI that can be
    read in two ways. None where the grants decide."""
    kinds = KINDS.get(asking.method, _EXTENSION)
    if asking.target_kind not in kinds:
        return _METHOD_UNKNOWN if kinds is _EXTENSION else _DENIED
    if asking.target_kind in _USES and asking.name is None:
        return _DENIED
    # A server may read such a name, or such a URI, otherwise than a rule.
    if asking.target_kind in ("tool", "prompt") and suspicious_name(asking.name or ""):
        return _DENIED
    if asking.target_kind in ("resource", "listen") and suspicious_uri(asking.name or ""):
        return _DENIED
    return None


def compiled(deployment: Deployment) -> Policy:
    """The Policy of `deployment`, compiled once per object; the last few are kept (a reload has two at a time)."""
    for kept, policy in _COMPILED:
        if kept is deployment:
            return policy
    policy = Policy(deployment)
    _COMPILED.insert(0, (deployment, policy))
    del _COMPILED[_COMPILED_KEPT:]
    return policy


def decide(call: Asking, principal: Principal, deployment: Deployment) -> Decision:
    """Permit or Deny for one question: pure, total, default deny."""
    return compiled(deployment).decide(call, principal)


def view(principal: Principal, server: str, deployment: Deployment) -> PolicyView:
    """What `principal` may do on `server`: `decide` in a form to keep, as long as the deployment and the principal are the same."""
    return compiled(deployment).view(principal, server)


def may_see(kind: Listed, name: str, principal: Principal, deployment: Deployment, server: str) -> bool:
    """Whether `name` stands in the list that this principal gets. Resource templates are asked as resources, by their raw template."""
    return compiled(deployment).view(principal, server).may_see(kind, name)


_EXTENSION: Final = frozenset[TargetKind]({"method"})
_USES: Final[dict[str, str]] = {"tool": "tools/call", "resource": "resources/read", "prompt": "prompts/get"}
_COMPILED_KEPT: Final = 8
_COMPILED: Final[list[tuple[Deployment, Policy]]] = []
