"""A bit rots in the segment of a worker that serves: it is said, and what the runbook types first helps."""

import os
import signal

from tests.e2e.life.conftest import Deploy
from tests.e2e.life.deployed import call, children, until


def test_a_segment_that_rots_is_said_and_a_restart_has_calls_signed_again(deploy: Deploy) -> None:
    with deploy(workers=1, more="[limits]\nidle_s = 2\n") as gate:

        def ask(key: str) -> str | None:
            return gate.ask(call("work", key), gate.token("counting")).receipt

        def signed() -> set[str]:
            return {written.leaf for written in gate.log()}

        before = ask("before")
        until(lambda: before in signed(), "signed")
        [sealer] = gate.rooms("sealer")
        os.kill(sealer, signal.SIGSTOP)
        behind = [ask(f"behind-{number}") for number in range(3)]
        [segment] = (gate.data_dir / "segments").glob("gate-0-*-000001.seg")
        with segment.open("rb+", buffering=0) as file:
            raw = file.read()
            file.seek(raw.rindex(b'"ev":"call.intent"', 0, raw.rindex(b'"ev":"call.intent"') - 10))
            file.write(b"#")
        os.kill(sealer, signal.SIGCONT)
        [damaged] = until(lambda: gate.said("segment.damaged"), "said", 10)
        assert damaged["file"] == f"segments/{segment.name}"
        unsigned = ask("served, and not signed")
        told = gate.command("doctor", "--offline", check=False).stdout
        assert f"first segments/{segment.name}" in told and "gatebook restart" in told

        rooms = children(gate.pid)
        gate.command("restart", timeout_s=250)
        until(lambda: not set(children(gate.pid)) & set(rooms), "everybody before has gone", 30)
        after = ask("after")
        until(lambda: after in signed(), "signed again")
        [recovered] = until(lambda: gate.log("log.recover"), "its end is told")
        assert (recovered.entry.out.ok, recovered.entry.out.reason) == (False, "damaged")
        until(lambda: not segment.exists(), "set aside")
        assert unsigned not in signed() and behind[0] in signed() and behind[2] not in signed()
        kept = segment.with_name(f"{segment.name}.damaged").read_bytes()
        assert kept.count(b'"ev":"call.intent"') + kept.count(b'#ev":"call.intent"') >= 5, "every byte is there"
        assert gate.stop() == 0
        gate.verify()
