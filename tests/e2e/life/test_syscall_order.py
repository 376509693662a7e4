"""The kernel's own account of a running gate: each record is synced before the byte that it must precede."""

import re
import threading
from pathlib import Path

import pytest

from tests.e2e.life.conftest import Deploy
from tests.e2e.life.deployed import Deployed, call, until
from tests.e2e.life.upstream import Upstream
from tests.faults.call_order import Order, judge
from tests.faults.strace import Call, need_strace, read

CALLERS = 8
CALLS = 18


def calls_of(gate: Deployed, caller: int, seen: list[int]) -> None:
    """Every third call is answered by a stream, the others by one body; every sixth holds a long argument."""
    token = gate.token("counting")
    connection = gate.connect()
    for number in range(CALLS):
        tool = "trickle" if number % 3 == 2 else "work"
        text = "word " * 5_000 if number % 6 == 4 else "word"
        answer = gate.ask(call(tool, f"{caller}-{number}", text=text), token, connection=connection)
        seen.append(answer.status)
    connection.close()


@pytest.mark.timeout(180)
def test_every_record_is_synced_before_the_first_byte_that_it_must_precede(
    deploy: Deploy, upstream: Upstream, tmp_path: Path
) -> None:
    need_strace()
    upstream.released.set()
    trace = tmp_path / "trace"
    with deploy(
        workers=1, segment_bytes=1 << 20, command=(str(Path(__file__).with_name("traced.py")), str(trace))
    ) as gate:
        seen: list[int] = []
        threads = [threading.Thread(target=calls_of, args=(gate, caller, seen)) for caller in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [200] * CALLERS * CALLS
        [worker] = gate.rooms("gate")
        pid = gate.pid
        assert gate.stop() == 0
    until(lambda: re.search(rf"(?m)^{pid} +\+\+\+ exited", trace.read_text("latin-1")), "the trace is whole")
    upstream_port, gate_port = re.escape(upstream.url.split(":")[2].split("/")[0]), gate.port
    calls_made = read(trace)

    def judged(made: list[Call]) -> Order:
        return judge(
            made,
            f"{gate.data_dir}/segments",
            upstream=re.compile(rf"->127\.0\.0\.1:{upstream_port}\]"),
            clients=re.compile(rf"TCP:\[127\.0\.0\.1:{gate_port}->"),
            result=b'"result"',
        )

    order = judged(calls_made)
    print(
        f"{order.requests} requests and {order.answers} answers ({order.streams} streams), worker {worker}: {order.wrong or 'all in order'}"
    )
    assert order.wrong == []
    assert order.requests == order.answers == CALLERS * CALLS
    assert order.streams == CALLERS * (CALLS // 3)
    # Had the syncs in the middle come a little later, it would have been seen; and without any, nothing is in order. Several of them: one
    # alone may be of a segment that was just begun, and cover no call.
    syncs = [each for each in calls_made if each.name == "fdatasync"]
    for late in syncs[len(syncs) // 2 : len(syncs) // 2 + 8]:
        late.ended = (late.ended or 0) + 1_000_000
    assert judged(calls_made).wrong != []
    assert len(judged([each for each in calls_made if each.name != "fdatasync"]).wrong) >= 2 * CALLERS * CALLS
