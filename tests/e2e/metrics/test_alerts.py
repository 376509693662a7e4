"""The alert rules that are shipped: understood by promtool, firing when they should, about metrics and words that exist."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gatebook.cli.alert_rules import rules
from gatebook.serve.metering.catalogue import ALL, exported
from tests.e2e.life.deployed import call, until
from tests.e2e.metrics.conftest import Deploy, Scraped, scrape

HERE = Path(__file__).parent
UNPACKED = Path(__file__).parents[3] / ".cache/promtool/usr/bin/promtool"

BROKEN = """
[[server]]
name = "broken"
command = ["/bin/false"]
[[role]]
name = "commands"
match = [ { issuer = "corp", group = "everybody" } ]
allow = [ { server = "broken", tools = ["**"] } ]
"""
INITIALIZE = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
).encode()


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool") or (str(UNPACKED) if UNPACKED.exists() else None)
    if found is None:
        pytest.skip("no promtool; type: make test, where Debian's packages can be had")
    return found


def run(promtool: str, *arguments: str | Path) -> str:
    done = subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_what_the_command_prints(promtool: str, tmp_path: Path) -> None:
    (tmp_path / "alerts.yml").write_text(rules())
    assert f"SUCCESS: {len(re.findall('- alert: ', rules()))} rules found" in run(
        promtool, "check", "rules", tmp_path / "alerts.yml"
    )


@pytest.mark.parametrize("tests", ["alerts_test.yml", "alerts_of_hours_test.yml"])
def test_each_alert_fires_when_it_should_and_is_silent_else(promtool: str, tests: str, tmp_path: Path) -> None:
    (tmp_path / "alerts.yml").write_text(rules())
    shutil.copy(HERE / tests, tmp_path)
    run(promtool, "test", "rules", tmp_path / tests)


def test_promtool_would_say_it_if_one_did_not_fire(promtool: str, tmp_path: Path) -> None:
    (tmp_path / "alerts.yml").write_text(rules().replace('gatebook_room_up{room="sealer"} == 0', "vector(0) == 1"))
    shutil.copy(HERE / "alerts_test.yml", tmp_path)
    done = subprocess.run([promtool, "test", "rules", tmp_path / "alerts_test.yml"], capture_output=True, check=False)
    assert done.returncode != 0


def metrics_of_rules() -> set[str]:
    expressions = "".join(re.findall(r"expr: (?:>-\n)?(.*?)\n {8}(?:for|labels)", rules(), re.DOTALL))
    return set(re.findall(r"gatebook_\w+", expressions))


def test_every_metric_in_a_rule_is_really_shown(deploy: Deploy, promtool: str, metrics_at: str) -> None:
    """By a running gate, with a number; and by `gatebook verify`, whose words the node exporter carries."""
    with deploy(more=BROKEN) as gate:
        token = gate.token("counting")
        assert gate.ask(INITIALIZE, gate.token("broken"), server="broken").status != 200
        assert gate.ask(call("work", "one"), token).status == 200
        assert gate.ask(call("work", "two", card="4111111111111111"), token).status == 200
        assert gate.ask(call("work", "three"), "no.token").status == 401
        wanted = metrics_of_rules() - {"gatebook_certificate_expiry_timestamp_seconds"}  # this gate has no certificate

        def lacking() -> set[str]:
            return wanted - {name for name, _ in scrape(metrics_at).samples}

        verified = {name for name in wanted if name.startswith("gatebook_verification_")}
        until(lambda: lacking() <= verified, f"all of {sorted(wanted)}")
        judged = subprocess.run(
            [promtool, "check", "metrics"], input=scrape(metrics_at).text, capture_output=True, text=True, check=False
        )
        assert judged.returncode == 0, judged.stdout + judged.stderr
        until(lambda: scrape(metrics_at).value("gatebook_command_failures_total", server="broken") == 1, "one failure")
        textfile = gate.directory / "gatebook.prom"
        until(lambda: gate.said("config.loaded"), "in force")
        gate.command("verify", "data", "--key", "data/log.vkey", "--metrics", str(textfile))
        intact = Scraped(textfile.read_text())
        assert verified <= {name for name, _ in intact.samples}
        assert intact.value("gatebook_verification_intact") == 1
        gate.command("verify", "nowhere", "--key", "data/log.vkey", "--metrics", str(textfile), check=False)
        assert Scraped(textfile.read_text()).value("gatebook_verification_intact") == 0
    assert wanted - verified <= {name for family in ALL for name in exported(family)}
