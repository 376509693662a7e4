"""Backup under calls, a wiped directory, and a restore: verified, named as the roll-back it is, and served again; then the same without our command."""

import json
import shutil
from pathlib import Path

import pytest

from gatebook.adapters.log_files import LogFiles
from gatebook.ledger.verification import verify
from tests.e2e.life.conftest import Deploy
from tests.e2e.life.deployed import Deployed, call, until
from tests.e2e.life.load import load


def ask(gate: Deployed, key: str) -> str:
    """One call; its receipt."""
    answered = gate.ask(call("work", key), gate.token("counting"))
    assert (answered.status, answered.reason) == (200, None)
    assert answered.receipt is not None
    return answered.receipt


def judged(folder: Path, vkey: str, old: bytes | None = None) -> list[str]:
    report = verify(LogFiles(folder / "log"), LogFiles(folder / "payloads"), vkey, old_checkpoint=old)
    return [problem.what for problem in report.problems]


def size_of(checkpoint: bytes) -> int:
    return int(checkpoint.split(b"\n")[1])


@pytest.mark.timeout(300)
def test_a_restore_is_named_and_a_new_log_goes_on_and_so_it_is_where_a_directory_was_put_back_by_other_means(
    deploy: Deploy, tmp_path: Path
) -> None:
    watermark, to = tmp_path / "elsewhere" / "mark", tmp_path / "backups"
    watermark.parent.mkdir()
    with deploy(workers=1, watermark=watermark) as gate:
        with load(gate, callers=2) as calls:
            until(lambda: len(calls.acknowledged) > 20, "calls")
            made = json.loads(gate.command("backup", str(to), "--json").stdout)
        assert calls.refused == []
        lost = ask(gate, "lost")
        assert gate.stop() == 0
        assert lost in {written.leaf for written in gate.log()}
    later = (gate.data_dir / "log" / "checkpoint").read_bytes()
    assert watermark.read_bytes() == later
    old_key = (gate.data_dir / "log.vkey").read_text().strip()
    assert judged(Path(made["folder"]), old_key) == []

    # A wiped disk, and the backup put back: the watermark says what is missing.
    shutil.rmtree(gate.data_dir)
    restored = json.loads(gate.command("restore", str(to), "--key", old_key, "--json").stdout)
    assert (restored["size"], restored["known_size"]) == (made["size"], size_of(later))
    shutil.copytree(gate.data_dir, tmp_path / "unsigned")
    with deploy(workers=1, watermark=watermark, origin=restored["origin"]) as gate:
        ask(gate, "after")
        findings = json.loads(gate.command("doctor", "--offline", "--json").stdout)
        assert {finding["urgency"] for finding in findings} == {"later"}
        assert any("ROLLED BACK by" in finding["what"] for finding in findings)
        assert gate.stop() == 0
        [init], [told] = gate.log("log.init"), gate.log("log.restore")
        assert (init.entry.x["previous_size"], init.entry.x["previous_known_size"]) == (made["size"], size_of(later))
        assert (told.entry.out.reason, told.entry.who.sub[:3]) == ("rolled_back", "os:")
        gate.verify_log()
        assert "ROLLED BACK by" in (gate.directory / "gate.log").read_text()
    # The auditor who was shown more sees that the old log was cut.
    former = gate.data_dir / restored["former"]
    assert judged(former, old_key) == []
    assert any("the log was cut" in what for what in judged(former, old_key, later))

    # And a copy of the directory, put back by `cp`: nothing starts, until it is said. Where it has no signed log, that cannot be said of it.
    shutil.copytree(gate.data_dir, tmp_path / "older")
    with deploy(workers=1, watermark=watermark, origin=restored["origin"]) as gate:
        ask(gate, "lost again")
        assert gate.stop() == 0
    newest = size_of((gate.data_dir / "log" / "checkpoint").read_bytes())
    for copy, helps in (("unsigned", "gatebook restore FROM"), ("older", "gatebook restore --in-place")):
        shutil.rmtree(gate.data_dir)
        (tmp_path / copy).rename(gate.data_dir)
        start = gate.command("serve", check=False)
        assert start.returncode == 1
        assert f"ROLLED BACK: a log of {newest} entries was signed" in start.stderr
        assert helps in start.stderr
    again = json.loads(gate.command("restore", "--in-place", "--json").stdout)
    assert (again["rolled_back"], again["known_size"]) == (True, newest)
