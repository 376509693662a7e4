"""What waits for a collector is bounded."""

import pytest

from gatebook.adapters.secrets import FileOrEnvironment
from gatebook.gate.tracing import traceparent, wanted
from gatebook.model.deployment import Traces
from gatebook.model.errors import ConfigurationError
from gatebook.model.spans import Span
from gatebook.serve.metering.exporting import MOST_WAITING, Exporter

CALL = "01a22493-0661-76aa-8207-f9120cbe7e53"
HEX = CALL.replace("-", "")
SPAN = Span(HEX, "", CALL, "payments", "tools/call", "legacy", 1, 9, 2, 8, 200, None)


async def test_beyond_its_bound_spans_are_dropped_and_counted() -> None:
    exporter = Exporter(Traces(endpoint="http://127.0.0.1:1/v1/traces"), FileOrEnvironment())
    exporter.take([SPAN] * (MOST_WAITING + 7))
    assert (exporter.sent, exporter.dropped) == (0, 7)


def test_a_file_of_authorities_that_is_none_is_refused(tmp_path: object) -> None:
    with pytest.raises(ConfigurationError, match=r"traces\.ca_file"):
        Exporter(Traces(endpoint="https://c.example/v1/traces", ca_file=f"{tmp_path}/none.pem"), FileOrEnvironment())


@pytest.mark.parametrize(
    ("header", "share", "expected"),
    [
        (None, 1.0, (HEX, "")),
        (None, 0.0, None),
        (None, 0.01, None),
        (b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", 0.0, ("a" * 32, "b" * 16)),
        (b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-00", 1.0, None),
        (b"00-" + b"0" * 32 + b"-" + b"b" * 16 + b"-01", 0.0, None),
        (b"00-" + b"a" * 32 + b"-" + b"0" * 16 + b"-01", 0.0, None),
        (b"00-" + b"A" * 32 + b"-" + b"b" * 16 + b"-01", 0.0, None),
        (b"nonsense", 1.0, (HEX, "")),
    ],
)
def test_a_callers_flag_decides_and_else_the_share(
    header: bytes | None, share: float, expected: tuple[str, str] | None
) -> None:
    assert wanted(header, CALL, share) == expected


def test_the_spans_of_one_call_have_ids_of_their_own_and_the_server_gets_ours() -> None:
    assert SPAN.own_id != SPAN.upstream_id and len(SPAN.own_id) == len(SPAN.upstream_id) == 16
    assert traceparent(CALL) == f"00-{HEX}-{SPAN.upstream_id}-01".encode()
