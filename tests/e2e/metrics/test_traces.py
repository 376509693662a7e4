"""Spans of a running gate at a real receiver of OTLP: whose trace, how long, how it ended; and no value of anybody's."""

import secrets
from pathlib import Path
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.gate import free_port
from tests.e2e.life.deployed import call, until
from tests.e2e.metrics.collector import collecting
from tests.e2e.metrics.conftest import Deploy, scrape

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VISA = "4111111111111111"


def traces(url: str, more: str = "") -> str:
    return f'[traces]\nendpoint = "{url}"\nshare = 1.0\n{more}'


def told(span: Span) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_call_is_told_in_two_spans_in_its_callers_trace_or_in_one_of_its_own(
    deploy: Deploy, tmp_path: Path, metrics_at: str
) -> None:
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate/token").write_text("for-the-collector\n")
    canary = {
        place: f"canary{secrets.token_hex(6)}" for place in ("tool", "id", "subject", "argument", "header", "method")
    }
    with collecting() as collector, deploy(more=traces(collector.url, 'token = "file:token"\n')) as gate:
        token = gate.token("counting", subject=canary["subject"])
        sampled = {
            "traceparent": f"00-{TRACE}-{PARENT}-01",
            "user-agent": canary["header"],
            "baggage": canary["header"],
        }
        unsampled = {"traceparent": f"00-{secrets.token_hex(16)}-{PARENT}-00"}
        hers = gate.ask(call(canary["tool"], canary["id"], note=canary["argument"]), token, headers=sampled)
        ours = gate.ask(call("work", "a"), token)
        unknown = gate.ask(call("work", "b").replace(b"tools/call", f"{canary['method']}/x".encode()), token)
        gate.ask(call("work", "c"), token, headers=unsampled)
        assert gate.ask(call("work", "d", card=VISA), token).reason == "card_number_in_arguments"
        with_card = {"traceparent": VISA}
        gate.ask(call("work", "e"), token, headers=with_card)
        until(lambda: len({span.trace_id for span in collector.spans}) == 5, "five of six calls")
        until(lambda: scrape(metrics_at).total("gatebook_spans_sent_total") == 5, "counted")
        seen, raw = collector.spans, b"".join(collector.raw)
        assert set(collector.authorizations) == {"Bearer for-the-collector"}
    by_trace = {trace: [s for s in seen if s.trace_id.hex() == trace] for trace in {s.trace_id.hex() for s in seen}}
    server, client = sorted(by_trace[TRACE], key=lambda span: span.kind)
    assert (server.kind, client.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert server.parent_span_id.hex() == PARENT and client.parent_span_id == server.span_id
    assert (
        server.start_time_unix_nano
        <= client.start_time_unix_nano
        < client.end_time_unix_nano
        <= server.end_time_unix_nano
    )
    assert (
        told(server)["gatebook.call"] == hers.headers["gatebook-call-id"]
        and told(server)["gatebook.server"] == "counting"
    )
    assert (
        told(server)["mcp.method.name"] == server.name == "tools/call"
        and told(server)["http.response.status_code"] == 200
    )
    assert ours.headers["gatebook-call-id"].replace("-", "") in by_trace, "a trace that began here has the call's id"
    other = by_trace[unknown.headers["gatebook-call-id"].replace("-", "")]
    assert {span.name for span in other} == {"other"}
    [refused] = [span for span in seen if "error.type" in told(span)]
    assert told(refused)["error.type"] == "card_number_in_arguments" and refused.status.code == 2
    for place, value in {**canary, "card": VISA, "address": "127.0.0.1"}.items():
        assert value.encode() not in raw, place


def test_a_collector_that_fails_neither_slows_nor_stops_a_call(deploy: Deploy, metrics_at: str) -> None:
    port = free_port()
    with deploy(more=traces(f"http://127.0.0.1:{port}/v1/traces")) as gate:
        token = gate.token("counting")
        assert {gate.ask(call("work", f"k{number}"), token).status for number in range(20)} == {200}
        until(lambda: gate.said("traces.unsent"), "said once")
        assert gate.ask(call("work", "after"), token).status == 200
        assert scrape(metrics_at).total("gatebook_spans_sent_total") == 0
        with collecting(port) as collector:
            until(lambda: len({span.trace_id for span in collector.spans}) == 21, "what waited has come")
            collector.status = 400
            assert gate.ask(call("work", "never"), token).status == 200
            until(
                lambda: scrape(metrics_at).total("gatebook_spans_dropped_total") == 1,
                "what is refused for good is counted",
            )
        assert scrape(metrics_at).total("gatebook_spans_sent_total") == 21
