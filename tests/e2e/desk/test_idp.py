"""`gatebook idp test`: a login at a certified provider, walked step by step before any gate runs; and what it says of what is wrong."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.desk import Browser, configuration
from tests.e2e.desk.command_line import DESK_ROLES, follow
from tests.e2e.gate import free_port
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed
from tests.e2e.oidc_provider import GATEBOOK_SECRET, OidcProvider, Person, oidc_provider

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL),
]

ALICE = Person(sub="00u1alice", groups=("support", "auditors"), amr=("pwd", "otp"))
Changed = Callable[[str], str]


class Walks:
    def __init__(self, directory: Path, idp: OidcProvider, issuer: str) -> None:
        self.directory = directory
        self.text = configuration(free_port(), issuer, "http://127.0.0.1:9/mcp", idp.url, DESK_ROLES)
        (directory / "api-key").write_text("key")

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "gatebook", "idp", "test", "corp", *words, "--no-browser"]

    def walked(self, person: Person | None, changed: Changed = str) -> tuple[int, dict[str, dict[str, Any]]]:
        """The exit status, and the steps by what they are about; nobody is sent to a browser where `person` is None."""
        (self.directory / "gatebook.toml").write_text(changed(self.text))
        process = subprocess.Popen(
            self.command("--json"), cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        browser = Browser(person or ALICE)
        try:
            if person is not None:
                follow(process, browser)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
            browser.http.close()
        assert out, err
        return process.returncode, {step["what"]: step for step in map(json.loads, out.splitlines())}


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walks]:
    issuer = f"http://127.0.0.1:{free_port()}"
    with oidc_provider("localhost", (f"{issuer}/login/oidc/corp/callback",)) as idp:
        yield Walks(tmp_path_factory.mktemp("idp"), idp, issuer)


def test_a_login_that_works_is_told_with_what_it_gives(walks: Walks) -> None:
    status, steps = walks.walked(ALICE)
    assert status == 0, steps
    assert [step["ok"] for step in steps.values()].count(False) == 0
    assert "00u1alice" in steps["person"]["found"]
    assert steps["groups"]["found"] == "support, auditors"
    assert steps["MFA"]["found"].startswith("proven")
    assert (steps["roles"]["found"], steps["at the desk"]["found"]) == ("support", "auditor")
    assert GATEBOOK_SECRET not in json.dumps(steps)


def test_what_is_missing_in_the_token_is_named_with_the_setting_that_mends_it(walks: Walks) -> None:
    status, steps = walks.walked(Person(sub="00u2bob", amr=("pwd",)))
    assert status == 0
    assert steps["groups"]["ok"] is None and "groups_claim" in steps["groups"]["mend"]
    assert steps["MFA"]["found"].startswith("none") and "mfa.amr" in steps["MFA"]["mend"]
    assert "may call nothing" in steps["roles"]["found"]


def test_groups_that_were_left_out_are_a_fault(walks: Walks) -> None:
    overage = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example"}}}
    status, steps = walks.walked(Person(sub="00u3eve", groups=("support",), claims=overage))
    assert status == 1
    assert steps["groups"]["ok"] is False and "fewer" in steps["groups"]["mend"]


@pytest.mark.parametrize(
    ("changed", "person", "what", "said"),
    [
        (lambda text: text.replace(GATEBOOK_SECRET, "another"), ALICE, "ID token", "401"),
        (lambda text: text.replace('"http://localhost', '"http://localhost', 1).replace("\nclient_id = \"gatebook\"", '\npreset = "entra"\nclient_id = "gatebook"'), ALICE, "ID token", "another organisation"),
        (lambda text: text.replace("url = \"http://localhost", "url = \"http://localhost.invalid"), None, "keys", ""),
        (lambda text: text.replace(f'"literal:{GATEBOOK_SECRET}"', '"file:nowhere"'), None, "client secret", ""),
    ],
    ids=["secret", "preset", "issuer", "file"],
)  # fmt: skip
def test_the_step_that_does_not_hold_is_named_and_ends_the_walk(
    walks: Walks, changed: Changed, person: Person | None, what: str, said: str
) -> None:
    status, steps = walks.walked(person, changed)
    last = list(steps.values())[-1]
    assert (status, last["what"], last["ok"]) == (1, what, False)
    assert said in last["found"] and last["mend"]


def test_without_a_login_it_says_what_to_register(walks: Walks) -> None:
    (walks.directory / "gatebook.toml").write_text(walks.text)
    done = subprocess.run(walks.command("--no-login"), cwd=walks.directory, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert "/login/oidc/corp/callback must be registered for the client gatebook" in done.stdout
