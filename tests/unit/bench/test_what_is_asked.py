"""What the bench asks, what it takes for a right answer, and what it tells its servers."""

import json
import re
from pathlib import Path

import pytest

from bench import bodies
from bench.bodies import CARD_TOOL, PAN
from bench.loading import CARDS_EVERY, Wrong, questions
from bench.peers import envoy, gatebook, nginx
from bench.peers.common import Site, Tls
from bench.stage import check_answers, check_masked
from bench.tokens import Issuer
from gatebook.config.load import load
from gatebook.masking.networks import luhn_valid

CALLERS = [("/mcp/mcp", f"token-{number}") for number in range(64)]


def a_site(directory: Path, **settings: object) -> Site:
    return Site(**{"directory": directory, "port": 8080, "upstreams": (9090,), "issuer": Issuer(), **settings})  # type: ignore[arg-type]


def test_every_hundredth_call_asks_for_a_card_and_every_caller_is_in_turn():
    asked = questions("127.0.0.1:1", CALLERS, ("get_order",))
    cards = [place for place, request in enumerate(asked.order) if asked.classes[request] == 2]
    assert cards == list(range(CARDS_EVERY - 1, len(asked.order), CARDS_EVERY)) and len(cards) >= 64
    assert set(asked.order) == set(range(len(asked.requests)))
    assert all(
        (b"Mcp-Name: get_card" in asked.requests[request]) == (asked.classes[request] == 2) for request in asked.order
    )
    assert len({asked.requests[request].split(b"Bearer ")[1].split(b"\r\n")[0] for request in asked.order[:64]}) == 64


def test_with_many_tools_every_caller_meets_every_tool():
    asked = questions("h", CALLERS, tuple(f"tool_{number}" for number in range(20)))
    assert len({request for request in asked.order if asked.classes[request] == 1}) == 64 * 20


def test_a_request_says_its_own_length_and_its_tool_twice():
    head, _, body = bodies.request("/mcp/mcp", "127.0.0.1:1", "get_order", "t").partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head and b"Mcp-Name: get_order" in head
    assert json.loads(body)["params"]["name"] == "get_order"


@pytest.mark.parametrize("kib", [1, 200])
def test_clean_answers_hold_nothing_like_a_card_number_and_ids_much_that_is_none(kib: int):
    """Else the rows would measure the same thing under two names."""
    clean, ids = bodies.answers("clean", kib).plain, bodies.answers("ids", kib).plain
    assert not re.search(rb"[0-9]{4}", clean)
    alike = re.findall(rb"(?<![0-9a-f-])[3-6][0-9]{15}(?![0-9])", ids)
    assert len(alike) >= 3 * kib and not any(luhn_valid(number) for number in alike)
    assert all(kib * 1024 <= len(body) < kib * 1024 * 1.3 for body in (clean, ids))


def test_answers_are_the_same_in_every_run_and_have_the_id_of_every_request():
    assert bodies.answers("ids", 1) == bodies.answers("ids", 1)
    assert json.loads(bodies.answers("clean", 1).plain)["id"] == json.loads(bodies.call("get_order"))["id"]
    assert PAN.encode() in bodies.answers("clean", 1).card and PAN.encode() not in bodies.answers("clean", 1).plain


def test_a_masked_answer_is_right_and_one_in_clear_or_changed_elsewhere_is_wrong():
    sent = bodies.answers("clean", 1).card
    check_masked(sent.replace(PAN.encode(), b"411111******1111"), sent)
    with pytest.raises(Wrong, match="in clear"):
        check_masked(sent, sent)
    with pytest.raises(Wrong, match="in clear"):
        check_masked(sent.replace(PAN.encode(), b"4111111*****1111"), sent)
    with pytest.raises(Wrong, match="more than the card number"):
        check_masked(sent.replace(PAN.encode(), b"411111******1111").replace(b"orders", b"ORDERS"), sent)


def test_only_the_gate_may_change_an_answer():
    answers = bodies.answers("clean", 1)
    masked = answers.card.replace(PAN.encode(), b"411111******1111")
    check_answers("gatebook", answers, answers.plain, masked)
    check_answers("envoy", answers, answers.plain, answers.card)
    with pytest.raises(Wrong, match="envoy changes an answer"):
        check_answers("envoy", answers, answers.plain, masked)
    with pytest.raises(Wrong, match="in clear"):
        check_answers("gatebook", answers, answers.plain, answers.card)


def test_the_gates_configuration_is_one_that_the_gate_reads(tmp_path: Path):
    for name in ("jwks.json", "ca.pem", "leaf.pem", "leaf.key"):
        (tmp_path / name).write_text(Issuer().jwks())
    tls = Tls(ca=tmp_path / "ca.pem", certificate=tmp_path / "leaf.pem", key=tmp_path / "leaf.key")
    site = a_site(tmp_path, names=("a", "b"), upstreams=(1, 2), groups=("x", "y"), tls=tls, connections=9000)
    file = tmp_path / "gatebook.toml"
    file.write_text(gatebook.config(site))
    deployment = load(file).deployment
    assert [server.url for server in deployment.servers] == ["https://127.0.0.1:1/a/mcp", "https://127.0.0.1:2/b/mcp"]
    assert [role.name for role in deployment.roles] == ["x", "y"] and deployment.limits.connections == 9000
    assert deployment.servers[0].record == "masked" and deployment.workers == 1


def test_envoy_verifies_tokens_with_a_cache_parses_calls_permits_tools_and_logs(tmp_path: Path):
    listener = envoy.config(a_site(tmp_path, groups=("x", "y")))["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert [one["name"].rpartition(".")[2] for one in manager["http_filters"]] == ["jwt_authn", "mcp", "rbac", "router"]
    jwt, mcp, rbac, _ = (one["typed_config"] for one in manager["http_filters"])
    assert jwt["providers"]["corp"]["jwt_cache_config"]["jwt_cache_size"] >= 1000
    assert mcp["traffic_mode"] == "REJECT_NO_MCP"
    assert list(rbac["rules"]["policies"]) == ["x", "y"] and CARD_TOOL in json.dumps(rbac["rules"]["policies"]["y"])
    assert "params:name" in json.dumps(manager["access_log"])


@pytest.mark.parametrize("kib", [1, 200])
def test_the_upstreams_configuration_gives_each_answer_whole(tmp_path: Path, kib: int):
    answers = bodies.answers("clean", kib)
    text = nginx.upstream_config(tmp_path, 1, answers, None)
    assert max(map(len, text.split(" "))) < 4096
    if kib == 1:
        pieces = [
            line.partition("default '")[2].rpartition("';")[0]
            for line in text.splitlines()
            if "$card_" in line.partition("{")[0]
        ]
        assert "".join(pieces).replace("\\'", "'").replace("\\\\", "\\").encode() == answers.card
    else:
        assert (tmp_path / "card.body").read_bytes() == answers.card
