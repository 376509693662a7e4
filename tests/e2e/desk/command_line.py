"""The command line in a person's hands: a home of its own, a browser, and nothing of the gate's files."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from gatebook.adapters.log_files import LogFiles
from gatebook.ledger import reading
from tests.e2e.desk import Browser, Place
from tests.e2e.oidc_provider import Person

CLI_ID = "gatebook-cli"
DESK_ROLES = "".join(
    f'[[desk_role]]\nrole = "{role}"\nmatch = [ {{ issuer = "corp", group = "{group}" }} ]\n'
    for role, group in (
        ("admin", "admins"), ("approver", "approvers"), ("auditor", "auditors"), ("recordings", "recording-readers"),
    )
)  # fmt: skip
DESK_ROLES += '[[desk_role]]\nrole = "admin"\nmfa = "proven"\nmatch = [ { issuer = "corp", group = "on-call" } ]\n'
GROUPS = {"admin": "admins", "approver": "approvers", "auditor": "auditors", "recordings": "recording-readers"}


def person(subject: str, *roles: str, groups: tuple[str, ...] = ()) -> Person:
    """A person with these roles at the desk."""
    return Person(sub=subject, groups=(*groups, *(GROUPS[role] for role in roles)), amr=("pwd", "otp"))


class Shell:
    """Where one person types. `browser`: what comes up when a command says where to log in."""

    def __init__(self, here: Place, home: Path, browser: Browser) -> None:
        self.here = here
        self.home = home
        self.browser = browser
        home.mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACTIONS_", "GATEBOOK_"))}
        trusts = {"SSL_CERT_FILE": str(self.here.trusts)} if self.here.trusts else {}
        return {**kept, **trusts, "XDG_STATE_HOME": str(self.home / "state"), "HOME": str(self.home)}

    @property
    def logins(self) -> Path:
        return self.home / "state" / "gatebook" / "logins.json"

    def type(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """`gatebook WORDS`, in a folder without a configuration."""
        done = subprocess.run(
            [sys.executable, "-m", "gatebook", *words],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert not check or done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return done

    def type_and_log_in(self, *words: str) -> str:
        """The same for a command that sends to the browser; what it prints."""
        process = subprocess.Popen(
            [sys.executable, "-m", "gatebook", *words, "--no-browser"],
            cwd=self.home,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            follow(process, self.browser)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
        assert process.returncode == 0, (words, out, err)
        return out

    def type_and_be_refused(self, *words: str) -> str:
        """The same where the desk shows a page of refusal and sends nobody back; that page."""
        command = [sys.executable, "-m", "gatebook", *words, "--no-browser"]
        with subprocess.Popen(
            command, cwd=self.home, env=self.environment, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stderr is not None
                _, said, url = process.stderr.readline().partition("Log in with your browser: ")
                assert said
                return str(self.browser.visit(url.strip(), stop_at="nowhere:").text)
            finally:
                process.kill()

    def log_in(self) -> None:
        self.type_and_log_in("login", "--desk", self.here.issuer)


def entries_of(here: Place, event: str, subject: str, at_least: int = 1, /, **facts: object) -> list[dict[str, Any]]:
    """The entries of this event, this person and these facts, in the log's order, read from the files; waits for `at_least` so many."""
    log = LogFiles(here.gate.data_dir / "log")
    found: list[dict[str, Any]] = []
    for _ in range(60):
        entries = [msgspec.to_builtins(each.entry) for each in reading.entries(log)]
        found = [
            entry
            for entry in entries
            if entry["ev"] == event and entry["who"]["sub"] == subject and facts.items() <= entry.get("x", {}).items()
        ]
        if len(found) >= at_least:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{len(found)} entries {event} of {subject}, not {at_least}")


def refusals_of(here: Place) -> list[dict[str, Any]]:
    """The entries of logins that were refused."""
    for _ in range(60):
        log = LogFiles(here.gate.data_dir / "log")
        found = [msgspec.to_builtins(each.entry) for each in reading.entries(log) if each.entry.ev == "login.refused"]
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("no login was refused")


def follow(process: "subprocess.Popen[str]", browser: Browser) -> None:
    """Go where the command says, to the end: back at the port that it listens on."""
    assert process.stderr is not None
    for line in process.stderr:
        _, said, url = line.partition("Log in with your browser: ")
        if said:
            page = browser.visit(url.strip(), stop_at="nowhere:")
            assert "You may close this page" in page.text, page.text[:300]
            return
    raise AssertionError("the command sent nobody to a browser")
