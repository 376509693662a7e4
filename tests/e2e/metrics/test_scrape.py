"""What Prometheus reads from a running gate: every metric there is, the numbers that the book has, and nothing that anybody said."""

import json
import os
import secrets
import signal
from collections import Counter
from pathlib import Path

from tests.e2e.life.deployed import call, until
from tests.e2e.life.upstream import Upstream
from tests.e2e.metrics.conftest import Deploy, get, scrape

VISA = "4111111111111111"


def test_the_numbers_are_those_of_the_book(deploy: Deploy, metrics_at: str) -> None:
    with deploy() as gate:
        token = gate.token("counting")
        for number in range(20):
            assert gate.ask(call("work", f"key-{number}"), token).status == 200
        assert gate.ask(call("work", "paid", card=VISA), token).reason == "card_number_in_arguments"
        assert gate.ask(call("work", "nobody"), "no.such.token").status == 401

        def settled() -> bool:
            seen = scrape(metrics_at)
            return (
                seen.total("gatebook_calls_total") == 20
                and seen.total("gatebook_refusals_total") == 1
                and seen.total("gatebook_log_entries") == seen.total("gatebook_log_signed_entries") > 40
            )

        until(settled, "all counted and signed")
        seen = scrape(metrics_at)
        assert gate.stop() == 0
        written = Counter((each.entry.ev, each.entry.out.reason) for each in gate.log())
    assert seen.value("gatebook_calls_total", server="counting", reason="completed") == 20
    assert written["call.result", "completed"] == 20
    assert seen.value("gatebook_refusals_total", server="counting", reason="card_number_in_arguments") == 1
    assert seen.total("gatebook_receipts_total", server="counting") == sum(
        times for (event, _), times in written.items() if event == "call.intent"
    )
    assert seen.total("gatebook_findings_total", direction="request", detector="pan") == 1
    assert seen.total("gatebook_authentication_failures_total", server="counting") == 1
    assert seen.total("gatebook_own_seconds_count", server="counting") == 20
    assert 0 < seen.total("gatebook_own_seconds_sum") < 20
    assert seen.total("gatebook_upstream_seconds_count", server="counting") == 20
    assert seen.total("gatebook_tokens_verified_total") >= 2
    for room in ("gate-0", "gate-1", "sealer", "desk", "meter", "supervisor"):
        assert seen.total("gatebook_room_memory_bytes", room=room) > 0, room


def test_nothing_that_a_caller_or_a_server_said_is_shown(deploy: Deploy, metrics_at: str) -> None:
    """Canaries in every place that a caller fills: none of them may come back, wherever it was counted."""
    with deploy() as gate:
        canaries = {place: f"canary{secrets.token_hex(6)}" for place in ("tool", "id", "subject", "argument", "header")}
        canaries |= {"path": "canarypath", "method": f"canary{secrets.token_hex(6)}/x", "token": "canarytoken"}
        token = gate.token("counting", subject=canaries["subject"])
        headers = {"user-agent": canaries["header"], "x-canary": canaries["header"], "mcp-name": canaries["header"]}
        answered = []
        for name in ("work", canaries["tool"]):
            for more in ({}, {"card": VISA}):
                body = call(name, canaries["id"], note=canaries["argument"], **more)
                answered.append(gate.ask(body, token, headers=headers).reason)
        body = json.dumps({"jsonrpc": "2.0", "id": canaries["id"], "method": canaries["method"], "params": {}}).encode()
        answered.append(gate.ask(body, token).reason)
        answered.append(gate.ask(f'{{"{canaries["argument"]}"'.encode(), token).reason)
        answered.append(gate.ask(call("work", "x"), canaries["token"]).reason)
        gate.ask(call("work", "x"), token, server=canaries["path"])
        card = "card_number_in_arguments"
        assert answered == [None, card, None, card, None, "parse_error", "token_invalid"]
        until(lambda: scrape(metrics_at).total("gatebook_refusals_total") >= 3, "counted")
        shown = "".join(get(metrics_at, {"accept": accept})[2] for accept in ("", "application/openmetrics-text"))
        written = (gate.directory / "gate.log").read_text()
    for place, canary in {**canaries, "card": VISA, "address": "127.0.0.1"}.items():
        assert canary not in shown, place
    assert "canarytoken" not in written


def test_counters_go_on_when_rooms_are_killed(deploy: Deploy, metrics_at: str, upstream: Upstream) -> None:
    with deploy(workers=1) as gate:
        token = gate.token("counting")
        for number in range(5):
            assert gate.ask(call("work", f"before-{number}"), token).status == 200
        until(lambda: scrape(metrics_at).total("gatebook_calls_total") == 5, "counted")
        for kind in ("gate", "meter", "sealer"):
            [victim] = gate.rooms(kind)
            os.kill(victim, signal.SIGKILL)
            until(lambda kind=kind, victim=victim: gate.rooms(kind) not in ([], [victim]), f"another {kind}")
        until(lambda: gate.get("/readyz") == 200, "ready again")
        for number in range(3):
            assert gate.ask(call("work", f"after-{number}"), token).status == 200

        def gone_on() -> bool:
            try:
                seen = scrape(metrics_at)
            except (AssertionError, OSError):
                return False  # a meter that has only just begun
            return seen.total("gatebook_calls_total") == 8 and seen.total("gatebook_room_up", room="sealer") == 1

        until(gone_on, "the counters of before and of after")
        seen = scrape(metrics_at)
    assert seen.total("gatebook_own_seconds_count") == 8
    starts = {
        room: seen.total("gatebook_room_starts_total", room=room) for room in ("gate-0", "meter", "sealer", "desk")
    }
    assert starts == {"gate-0": 2, "meter": 2, "sealer": 2, "desk": 1}
    assert seen.total("gatebook_diagnostics_total", room="supervisor", event="room.ended") == 3


def test_who_may_read(deploy: Deploy, tmp_path: Path, metrics_at: str) -> None:
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate/token").write_text("a-scrapers-token\n")
    with deploy(metrics=f'[metrics]\nlisten = "{metrics_at}"\ntoken = "file:token"\n'):
        assert get(metrics_at)[0] == 401
        for wrong in ("Bearer", "Bearer ", "Bearer a-scrapers-toke", "Basic a-scrapers-token", "a-scrapers-token"):
            assert get(metrics_at, {"authorization": wrong})[0] == 401, wrong
        until(lambda: get(metrics_at, {"authorization": "Bearer a-scrapers-token"})[0] == 200, "let in")
        (tmp_path / "gate/token").write_text("another\n")
        assert get(metrics_at, {"authorization": "Bearer a-scrapers-token"})[0] == 401
        assert get(metrics_at, {"authorization": "Bearer another"})[0] == 200
        (tmp_path / "gate/token").write_text("")
        assert get(metrics_at, {"authorization": "Bearer "})[0] == 401, "an empty file opens nothing"


def test_a_socket_of_this_machine_and_no_web_page(deploy: Deploy, tmp_path: Path) -> None:
    where = f"{tmp_path}/metrics.sock"
    with deploy(metrics=f'[metrics]\nlisten = "unix:{where}"\n') as gate:
        until(lambda: get(where)[0] == 200, "served")
        assert get(where, {"host": "evil.example"})[0] == 401, "a name of another machine's that was pointed here"
        assert get(where, path="/")[0] == 404
        assert gate.get("/metrics") == 404, "the gate's own listener shows nothing"


def test_without_the_table_nothing_listens(deploy: Deploy) -> None:
    with deploy(metrics="") as gate:
        assert gate.rooms("meter") == []
