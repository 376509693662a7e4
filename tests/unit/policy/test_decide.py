"""What is permitted, to whom, by which rule; and that everything else is denied."""

import gc
import itertools
from typing import Literal

import msgspec
import pytest

from gatebook.model.decision import Asking, Deny, Permit
from gatebook.model.deployment import Allow, Deployment, Match, Role, Server
from gatebook.model.errors import Reason
from gatebook.model.principal import Evidence, Principal
from gatebook.policy import compiled, decide, may_see
from gatebook.policy.methods import KINDS


def person(*groups: str, issuer: str = "corp", subject: str = "u1", claims: dict[str, str] | None = None) -> Principal:
    return Principal(
        kind="person",
        issuer=f"https://{issuer}.example",
        issuer_name=issuer,
        subject=subject,
        agent=None,
        login="sid:1",
        groups=frozenset(groups),
        claims=claims or {},
        evidence=Evidence(),
        expires_at=1e12,
    )


def server(name: str) -> Server:
    return Server(name=name, url="https://x/mcp", resource=f"https://g/{name}/mcp", audiences={})


def role(name: str, *allow: Allow, group: str | None = None, match: tuple[Match, ...] | None = None) -> Role:
    return Role(name=name, match=match or (Match(issuer="corp", group=group or name),), allow=allow)


def deployment(*roles: Role) -> Deployment:
    return Deployment(
        profile="dev",
        public_url="https://g",
        listen=("127.0.0.1:1",),
        workers=1,
        data_dir="/d",
        origin="o",
        log_key="/k",
        payload_public_key="/p",
        servers=(server("payments"), server("crm")),
        roles=roles,
    )


SUPPORT = role(
    "support", Allow(server="payments", tools=("get_order", "list_*"), resources=("orders://*",), prompts=("help",))
)
BOOK = deployment(
    SUPPORT,
    role("reader", Allow(server="crm"), Allow(server="payments", resources=("orders://**",))),
    role("vendor", Allow(server="payments", methods=("vendor/*",))),
)


def ask(method: str, kind: str, name: str | None = None, on: str = "payments") -> Asking:
    return Asking(server=on, method=method, target_kind=kind, name=name)  # type: ignore[arg-type]


def call(tool: str, on: str = "payments") -> Asking:
    return ask("tools/call", "tool", tool, on)


def test_a_granted_tool_is_permitted_and_the_rule_is_named() -> None:
    assert decide(call("get_order"), person("support"), BOOK) == Permit(
        rule="role:support/allow[0]", roles=("support",)
    )


def test_the_rule_names_the_allow_that_covers_it_not_the_first_of_the_role() -> None:
    decision = decide(ask("resources/read", "resource", "orders://a/b"), person("reader"), BOOK)
    assert decision == Permit(rule="role:reader/allow[1]", roles=("reader",))


@pytest.mark.parametrize(
    "tool", ["refund", "get_orders", "Get_order", "get_order ", "", "list", "list_/x", "get_оrder"]
)
def test_a_tool_that_no_grant_lists_is_denied(tool: str) -> None:
    decision = decide(call(tool), person("support"), BOOK)
    assert isinstance(decision, Deny)
    assert (decision.reason, decision.rule) == (Reason.DENIED, "default")


def test_roles_add_up() -> None:
    both = person("support", "reader")
    assert decide(call("get_order"), both, BOOK) == Permit(rule="role:support/allow[0]", roles=("support", "reader"))
    assert isinstance(decide(ask("resources/read", "resource", "orders://a/b"), both, BOOK), Permit)


def test_a_grant_on_one_server_says_nothing_about_another() -> None:
    assert isinstance(decide(call("get_order", on="crm"), person("support"), BOOK), Deny)
    assert isinstance(decide(ask("initialize", "lifecycle", on="crm"), person("support"), BOOK), Deny)


@pytest.mark.parametrize("method", sorted(KINDS))
def test_a_caller_without_a_role_may_do_nothing_at_all(method: str) -> None:
    for kind in KINDS[method]:
        decision = decide(ask(method, kind, "x"), person("strangers"), BOOK)
        assert isinstance(decision, Deny) and decision.reason is Reason.DENIED


def test_an_unknown_server_is_denied_with_the_same_reason_as_a_forbidden_one() -> None:
    unknown = decide(call("get_order", on="nowhere"), person("support"), BOOK)
    forbidden = decide(call("get_order", on="crm"), person("support"), BOOK)
    assert isinstance(unknown, Deny) and isinstance(forbidden, Deny)
    assert (unknown.reason, unknown.rule) == (forbidden.reason, forbidden.rule)


@pytest.mark.parametrize("method", sorted(m for m, kinds in KINDS.items() if "lifecycle" in kinds))
def test_any_grant_on_a_server_implies_the_lifecycle(method: str) -> None:
    assert decide(ask(method, "lifecycle"), person("reader"), BOOK) == Permit(
        rule="role:reader/allow[1]", roles=("reader",)
    )
    assert isinstance(decide(ask(method, "lifecycle", on="crm"), person("reader"), BOOK), Permit)


@pytest.mark.parametrize("method", ["tools/list", "resources/list", "resources/templates/list", "prompts/list"])
def test_any_grant_on_a_server_implies_its_lists(method: str) -> None:
    assert isinstance(decide(ask(method, "list"), person("vendor"), BOOK), Permit)


def test_listening_needs_a_grant_and_each_resource_of_its_filter_one_of_its_own() -> None:
    assert isinstance(decide(ask("subscriptions/listen", "listen"), person("support"), BOOK), Permit)
    assert isinstance(decide(ask("subscriptions/listen", "resource", "orders://7"), person("support"), BOOK), Permit)
    for kind in ("resource", "listen"):
        assert isinstance(decide(ask("subscriptions/listen", kind, "orders://7"), person("support"), BOOK), Permit)
        assert isinstance(decide(ask("subscriptions/listen", kind, "crm://7"), person("support"), BOOK), Deny)
        assert isinstance(decide(ask("subscriptions/listen", kind, "orders://.."), person("support"), BOOK), Deny)


@pytest.mark.parametrize("method", ["resources/read", "resources/subscribe", "resources/unsubscribe"])
def test_subscriptions_follow_the_grant_on_the_resource(method: str) -> None:
    assert isinstance(decide(ask(method, "resource", "orders://7"), person("support"), BOOK), Permit)
    assert isinstance(decide(ask(method, "resource", "orders://7/items"), person("support"), BOOK), Deny)


def test_completion_follows_what_it_completes() -> None:
    complete = "completion/complete"
    assert isinstance(decide(ask(complete, "prompt", "help"), person("support"), BOOK), Permit)
    assert isinstance(decide(ask(complete, "prompt", "secret"), person("support"), BOOK), Deny)
    assert isinstance(decide(ask(complete, "resource", "orders://{id}"), person("support"), BOOK), Permit)
    assert isinstance(decide(ask(complete, "resource", "crm://{id}"), person("support"), BOOK), Deny)


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel", "tasks/result", "tasks/list"])
def test_tasks_need_a_grant_on_every_tool_since_they_could_be_any_tools(method: str) -> None:
    everything = Role(
        name="admin", match=(Match(issuer="corp", group="admin"),), allow=(Allow(server="payments", tools=("**",)),)
    )
    book = msgspec.structs.replace(BOOK, roles=(*BOOK.roles, everything))
    assert isinstance(decide(ask(method, "task"), person("admin"), book), Permit)
    for group in ("support", "reader"):
        denied = decide(ask(method, "task"), person(group), book)
        assert isinstance(denied, Deny) and denied.reason is Reason.DENIED


def test_an_extension_needs_its_method_listed() -> None:
    assert isinstance(decide(ask("vendor/do", "method"), person("vendor"), BOOK), Permit)
    for principal, method in (
        (person("support"), "vendor/do"),
        (person("vendor"), "vendor/do/more"),
        (person("vendor"), "x"),
    ):
        denied = decide(ask(method, "method"), principal, BOOK)
        assert isinstance(denied, Deny) and denied.reason is Reason.METHOD_UNKNOWN


def test_a_glob_over_methods_never_opens_a_known_method() -> None:
    book = deployment(role("all", Allow(server="payments", methods=("**",))))
    for method in KINDS:
        decision = decide(ask(method, "method", "x"), person("all"), book)
        assert isinstance(decision, Deny) and decision.reason is Reason.DENIED
    assert isinstance(decide(call("get_order"), person("all"), book), Deny)


def test_a_method_asked_as_something_it_is_not_is_denied() -> None:
    kinds = ("lifecycle", "list", "listen", "tool", "resource", "prompt", "task", "method")
    generous = deployment(role("all", Allow(server="payments", tools=("**",), resources=("**",), prompts=("**",))))
    for method, kind in itertools.product(KINDS, kinds):
        decision = decide(ask(method, kind, "x"), person("all"), generous)
        assert isinstance(decision, Permit) == (kind in KINDS[method]), (method, kind)


def test_an_extension_cannot_pass_as_lifecycle() -> None:
    decision = decide(ask("vendor/do", "lifecycle"), person("support"), BOOK)
    assert isinstance(decision, Deny) and decision.reason is Reason.METHOD_UNKNOWN


@pytest.mark.parametrize(
    ("method", "kind"), [("tools/call", "tool"), ("resources/read", "resource"), ("prompts/get", "prompt")]
)
def test_an_object_without_a_name_is_denied_even_to_who_may_use_all(method: str, kind: str) -> None:
    book = deployment(role("all", Allow(server="payments", tools=("**",), resources=("**",), prompts=("**",))))
    assert isinstance(decide(ask(method, kind), person("all"), book), Deny)


@pytest.mark.parametrize(
    "uri", ["orders://a/../b", "orders://%2e", "orders://a\\b", "orders://a\n", "orders://..", "orders://\ud800"]
)
def test_a_suspicious_uri_is_denied_even_to_who_may_read_all(uri: str) -> None:
    book = deployment(role("all", Allow(server="payments", resources=("**",))))
    assert isinstance(decide(ask("resources/read", "resource", uri), person("all"), book), Deny)


@pytest.mark.parametrize("kind", ["tool", "prompt"])
@pytest.mark.parametrize("name", ["delete_all\x00_read", "a\nb_read", "a\x7f_read", "a\u2028_read", "a\ud800_read"])
def test_a_name_that_a_server_may_cut_short_is_denied_and_not_listed(
    kind: Literal["tool", "prompt"], name: str
) -> None:
    book = deployment(role("all", Allow(server="payments", tools=("*_read", "**"), prompts=("*_read", "**"))))
    method = {"tool": "tools/call", "prompt": "prompts/get"}[kind]
    assert isinstance(decide(ask(method, kind, name), person("all"), book), Deny)
    assert not may_see(kind, name, person("all"), book, "payments")


@pytest.mark.parametrize(
    ("match", "caller", "held"),
    [
        (Match(issuer="corp", group="a"), person("a"), True),
        (Match(issuer="corp", group="a"), person("A"), False),
        (Match(issuer="corp", group="a"), person("a", issuer="other"), False),
        (Match(issuer="corp", group="*"), person("a"), False),
        (Match(issuer="corp", subject="u1"), person(), True),
        (Match(issuer="corp", subject="u"), person(), False),
        (Match(issuer="corp", subject="u1", group="a"), person(), False),
        (Match(issuer="corp", subject="u1", group="a"), person("a"), True),
        (Match(issuer="corp", claims={"ref_protected": "true"}), person(claims={"ref_protected": "true"}), True),
        (Match(issuer="corp", claims={"ref_protected": "true"}), person(claims={"ref_protected": "True"}), False),
        (Match(issuer="corp", claims={"ref_protected": "true"}), person(), False),
        (Match(issuer="corp", claims={"a": "1", "b": "2"}), person(claims={"a": "1", "b": "3"}), False),
        (Match(issuer="corp", claims={"a": ""}), person(), False),
        (Match(issuer="corp"), person("a"), False),
        (Match(issuer=""), person("a"), False),
    ],
)
def test_a_role_is_held_only_where_every_condition_of_a_match_is_equal(
    match: Match, caller: Principal, held: bool
) -> None:
    book = deployment(role("r", Allow(server="payments", tools=("t",)), match=(match,)))
    assert isinstance(decide(call("t"), caller, book), Permit) == held


def test_one_of_several_matches_is_enough() -> None:
    matches = (Match(issuer="corp", group="no"), Match(issuer="corp", subject="u1"))
    book = deployment(role("r", Allow(server="payments", tools=("t",)), match=matches))
    assert isinstance(decide(call("t"), person(), book), Permit)


def test_a_broken_glob_grants_nothing() -> None:
    book = deployment(role("r", Allow(server="payments", tools=("", "***", "a\x00"))))
    for name in ("", "***", "x", "a\x00"):
        assert isinstance(decide(call(name), person("r"), book), Deny)


def test_a_grant_on_a_server_that_is_not_configured_grants_nothing() -> None:
    book = deployment(role("r", Allow(server="ghost", tools=("**",))))
    assert isinstance(decide(call("t", on="ghost"), person("r"), book), Deny)


def test_two_roles_of_one_name_do_not_share_their_grants() -> None:
    book = deployment(
        role("r", Allow(server="payments", tools=("a",)), group="g1"),
        role("r", Allow(server="payments", tools=("b",)), group="g2"),
    )
    assert isinstance(decide(call("b"), person("g1"), book), Deny)


def test_lists_show_exactly_what_may_be_used() -> None:
    support = person("support")
    tools = [
        tool
        for tool in ("get_order", "list_refunds", "refund", "\ud800")
        if may_see("tool", tool, support, BOOK, "payments")
    ]
    assert tools == ["get_order", "list_refunds"]
    assert may_see("resource", "orders://{id}", support, BOOK, "payments")
    assert not may_see("resource", "orders://../x", support, BOOK, "payments")
    assert may_see("prompt", "help", support, BOOK, "payments")
    assert not may_see("tool", "get_order", support, BOOK, "crm")
    assert not may_see("tool", "get_order", person(), BOOK, "payments")


def test_answers_do_not_leak_from_one_principal_to_another_that_takes_its_place_in_memory() -> None:
    book = deployment(SUPPORT)
    for turn in range(2_000):
        principal = person("support") if turn % 2 else person("nobody")
        assert isinstance(decide(call("get_order"), principal, book), Permit) == bool(turn % 2)
        del principal
    gc.collect()


def test_a_new_configuration_is_judged_by_itself() -> None:
    caller = person("support")
    assert isinstance(decide(call("get_order"), caller, BOOK), Permit)
    assert isinstance(decide(call("get_order"), caller, deployment()), Deny)
    assert isinstance(decide(call("get_order"), caller, BOOK), Permit)


def test_a_flood_of_names_does_not_grow_the_memory_of_answers() -> None:
    policy = compiled(deployment(SUPPORT))
    caller = person("support")
    for number in range(3_000):
        policy.decide(call(f"list_{number}"), caller)
    policy.decide(call("list_" + "x" * 1_000_000), caller)
    view = policy.view(caller, "payments")
    assert len(view._answers) <= 1_024
    assert all(len(name or "") <= 256 for _, _, name in view._answers)


def test_principals_with_the_same_roles_share_one_view() -> None:
    policy = compiled(BOOK)
    assert policy.view(person("support", "x"), "payments") is policy.view(person("support", "y"), "payments")
