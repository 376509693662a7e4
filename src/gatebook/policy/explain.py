"""The walk of `decide`, in words for the operator (`gatebook why`)."""

from collections.abc import Iterator

from gatebook.model.decision import Asking, Deny
from gatebook.model.deployment import Allow, Deployment, Role
from gatebook.model.principal import Principal
from gatebook.policy.decide import Grant, decide, unsound
from gatebook.policy.roles import holds, unmet


def explain(asking: Asking, principal: Principal, deployment: Deployment) -> list[str]:
    """Every step of the decision, one a line, the decision itself last. Names roles, rules, patterns and claims' names; never the name asked for.

    For operators only: it tells what exists."""
    return [
        *_roles(principal, deployment),
        *_grants(asking, principal, deployment),
        _verdict(asking, principal, deployment),
    ]


def _roles(principal: Principal, deployment: Deployment) -> Iterator[str]:
    if not deployment.roles:
        yield "the configuration has no role"
    for role in deployment.roles:
        if holds(role, principal):
            yield f"role {role.name}: held, {_which(role, principal)}"
            continue
        if not role.match:
            yield f"role {role.name}: not held, it matches nobody"
        for index, match in enumerate(role.match):
            yield f"role {role.name}: not held, match[{index}] {unmet(match, principal)}"


def _which(role: Role, principal: Principal) -> str:
    return next(f"match[{index}] holds" for index, match in enumerate(role.match) if unmet(match, principal) is None)


def _grants(asking: Asking, principal: Principal, deployment: Deployment) -> Iterator[str]:
    if asking.server not in {server.name for server in deployment.servers}:
        yield "the server is not in the configuration"
        return
    if refused := unsound(asking):
        yield f"refused before any grant is looked at: {refused.words_for_operator}"
        return
    for role in deployment.roles:
        if not holds(role, principal):
            continue
        for index, allow in enumerate(role.allow):
            grant = Grant(role.name, index, allow)
            if allow.server != asking.server:
                yield f"{grant.rule}: is about server {allow.server}"
            else:
                yield f"{grant.rule}: {'covers' if grant.covers(asking) else 'does not cover'} it, {_because(asking, allow)}"


def _because(asking: Asking, allow: Allow) -> str:
    match asking.target_kind:
        case "lifecycle":
            return "any grant on a server implies the lifecycle methods"
        case "list":
            return "any grant on a server implies its lists, filtered to what may be used"
        case "listen" if asking.name is None:
            return "any grant on a server implies listening; each resource of the filter is judged by itself"
        case "task":
            return (
                f'a task could be any tool\'s, so it takes a grant on all of them ("**"): tools = {list(allow.tools)}'
            )
        case "method":
            return f"methods = {list(allow.methods)}"
        case "tool":
            return f"tools = {list(allow.tools)}"
        case "resource" | "listen":
            return f"resources = {list(allow.resources)}"
        case "prompt":
            return f"prompts = {list(allow.prompts)}"


def _verdict(asking: Asking, principal: Principal, deployment: Deployment) -> str:
    decision = decide(asking, principal, deployment)
    if isinstance(decision, Deny):
        return f"denied ({decision.reason}, rule {decision.rule}): {decision.words_for_operator}"
    return f"permitted by {decision.rule}"
