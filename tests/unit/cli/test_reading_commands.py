"""`log`, `why`, `sessions` and `replay` on a real book: what they find, what they record first, and what they refuse."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from gatebook.cli.app import app
from gatebook.cli.book import user_name
from gatebook.ledger import payload, payload_frames
from gatebook.ledger.framing import FrameKind, frame
from gatebook.model.finding import Finding
from gatebook.model.record import Draft
from tests.unit.cli.sealed_book import CALL, DENIED_CALL, EVIL_NAME, SESSION, SealedBook, a_draft, story

pytestmark = pytest.mark.slow  # every book is written and synced to the disk


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> SealedBook:
    return SealedBook(tmp_path_factory.mktemp("deployment"), story())


@pytest.fixture
def own_book(tmp_path: Path) -> SealedBook:
    """For tests that change it."""
    return SealedBook(tmp_path, story())


def run(book: SealedBook, *arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--config", str(book.config)])


def lines(book: SealedBook, *arguments: str) -> list[dict[str, Any]]:
    result = run(book, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@contextmanager
def without_the_right_to_read(book: SealedBook) -> Iterator[str]:
    """As a user who may not read the book, whose name is given. Root, who may read everything, becomes somebody else."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield user_name()
        finally:
            os.seteuid(0)
        return
    book.directory.chmod(0)
    try:
        yield user_name()
    finally:
        book.directory.chmod(0o700)


def test_log_finds_entries_by_their_properties(book: SealedBook) -> None:
    assert [each["ev"] for each in lines(book, "log", "--tool", "get_customer", "--finding", "pan")] == ["call.result"]
    assert [each["call"] for each in lines(book, "log", "--failed", "--event", "call")] == [DENIED_CALL]
    assert lines(book, "log", "--person", "mallory") == []


def test_log_shows_the_newest_and_says_that_there_are_more(book: SealedBook) -> None:
    shown = run(book, "log", "--session", SESSION, "--limit", "1")
    assert "call.refused" in shown.stdout
    assert "call.intent" not in shown.stdout
    assert "--limit shows more" in shown.stdout


def test_an_entry_found_names_its_place_in_the_log(book: SealedBook) -> None:
    [found] = lines(book, "log", "--call", DENIED_CALL)
    assert isinstance(found["index"], int)
    assert len(found["leaf"]) == 64


def test_a_time_that_is_none_is_refused(book: SealedBook) -> None:
    refused = run(book, "log", "--since", "yesterday")
    assert refused.exit_code == 2
    assert "is no time" in refused.stderr


def test_why_tells_who_what_by_which_rule_and_how_it_ended(book: SealedBook) -> None:
    told = run(book, "why", CALL).stdout
    for words in ("person alice with claude-code", "get_customer", "role:support/allow[0]", "completed", "PAN masked",
                  "customer_id (string)", "call.intent", "call.result"):  # fmt: skip
        assert words in told


def test_why_reads_the_rule_in_the_configuration_that_was_kept(tmp_path: Path) -> None:
    book = SealedBook(tmp_path, [])
    for draft in story(book.config_sha256):
        book.add(_without_payload(draft))
    assert (
        "role support allows on payments: tools get_order, list_orders, get_customer" in run(book, "why", CALL).stdout
    )
    assert "no role permits this to anybody" in run(book, "why", DENIED_CALL).stdout


def test_why_says_of_a_finding_who_sent_it(own_book: SealedBook) -> None:
    found = (Finding(detector="pan", action="masked", pointer="/params/data"),)
    own_book.add(a_draft("session.chunk", "get_customer", CALL, found=found))
    told = run(own_book, "why", CALL).stdout
    assert told.count("in the answer") == 2 and "in the request" not in told


@pytest.mark.parametrize(("undelivered", "words"), [(False, "awaits no answer"), (True, "upstream_invalid")])
def test_why_says_of_a_message_whether_it_was_delivered(own_book: SealedBook, undelivered: bool, words: str) -> None:
    message = "019bbb00-0000-7000-8000-000000000001"
    own_book.add(a_draft("message.client", "x", message))
    if undelivered:
        own_book.add(a_draft("message.server", "x", message, ok=False, reason="error_result"))
        own_book.add(a_draft("message.client", "x", message, ok=False, reason="upstream_invalid"))
    told = run(own_book, "why", message).stdout
    assert words in told and "unknown" not in told


def test_why_of_an_unknown_call_says_so(book: SealedBook) -> None:
    unknown = run(book, "why", "019affff")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    ambiguous = run(book, "why", "019aac")
    assert (ambiguous.exit_code, ambiguous.stdout) == (1, "")


def test_sessions_lists_who_and_what_became_of_it(book: SealedBook) -> None:
    [session] = lines(book, "sessions")
    assert (session["session"], session["who"]["sub"], session["calls"], session["refused"]) == (SESSION, "alice", 1, 1)
    assert SESSION[:12] in run(book, "sessions").stdout


def test_replay_opens_the_recording(book: SealedBook) -> None:
    shown = run(book, "replay", SESSION[:6]).stdout
    assert '"card": "411111******1111"' in shown
    assert "denied" in shown


def test_replay_without_the_payload_key_says_what_it_cannot_show(book: SealedBook, tmp_path: Path) -> None:
    shown = run(book, "replay", SESSION, "--payload-key", str(tmp_path / "absent")).stdout
    assert "411111" not in shown
    assert "no private payload key" in shown
    assert "could not be opened" in shown


def test_replay_with_something_that_is_no_key_is_refused(book: SealedBook, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("PAYLOAD+PUBLIC+x+y")
    assert run(book, "replay", SESSION, "--payload-key", str(tmp_path / "key")).exit_code == 2


def test_replay_writes_a_page_that_only_its_reader_may_open(book: SealedBook, tmp_path: Path) -> None:
    page = tmp_path / "replay.html"
    assert run(book, "replay", SESSION, "--html", str(page)).exit_code == 0
    assert page.stat().st_mode & 0o777 == 0o600
    assert "<mark>411111******1111</mark>" in page.read_text()


def test_the_page_says_that_a_damaged_log_does_not_verify(own_book: SealedBook, tmp_path: Path) -> None:
    bundles = [path for path in (own_book.directory / "log/tile/entries").rglob("*") if path.is_file()]
    bundle = max(bundles, key=lambda path: path.stat().st_size)
    content = bytearray(bundle.read_bytes())
    content[content.index(b"denied")] ^= 1
    bundle.chmod(0o600)
    bundle.write_bytes(content)
    page = tmp_path / "replay.html"
    run(own_book, "replay", SESSION, "--html", str(page))
    assert "The log does NOT verify" in page.read_text()


def test_replay_shows_what_was_signed_and_says_that_something_else_lies_in_its_place(
    own_book: SealedBook, tmp_path: Path
) -> None:
    [file] = (own_book.directory / "payloads").rglob("*.pay")
    with file.open("rb") as stored:
        first = next(each for each in payload_frames.stored_frames(stored) if each.is_piece)
    planted = frame(FrameKind.PAYLOAD, payload.stored_body(first.place, bytes(len(first.content))))
    whole = file.read_bytes()
    file.write_bytes(whole[: first.start] + planted + whole[first.start :])
    shown = run(own_book, "replay", SESSION).stdout
    assert '"customer_id": "cus_1001"' in shown
    assert f"put into the recording afterwards\n  · tools/call get_customer: the request: what is shown is what was signed; something else was put in its place, at offset {first.start}" in shown  # fmt: skip
    page = tmp_path / "replay.html"
    run(own_book, "replay", SESSION, "--html", str(page))
    assert "something else was put in its place" in page.read_text() and "does NOT verify" in page.read_text()


def test_replay_of_an_unknown_session_says_so(book: SealedBook) -> None:
    unknown = run(book, "replay", "ffff")
    assert (unknown.exit_code, unknown.stdout) == (1, "")


@pytest.mark.parametrize(
    ("command", "event", "name"),
    [
        (["log", "--failed"], "log.read", None),
        (["why", CALL], "log.read", None),
        (["why", "unknown"], "log.read", None),
        (["sessions"], "log.read", None),
        (["replay", SESSION], "recording.read", SESSION),
        (["replay", "ffff"], "recording.read", "ffff"),
    ],
)
def test_every_reading_is_in_the_book_with_who_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], event: str, name: str | None
) -> None:
    monkeypatch.setenv("SUDO_USER", "auditor")
    book = SealedBook(tmp_path, story())
    run(book, *command)
    book.seal()
    [entry] = book.entries(event)
    assert (entry.who.kind, entry.who.sub, entry.who.declared) == ("operator", "os:auditor", True)
    assert (entry.w.n, entry.from_.ip, entry.res.method, entry.res.name) == ("cli", "local", command[0], name)


def test_a_card_number_searched_for_does_not_get_into_the_book(own_book: SealedBook) -> None:
    run(own_book, "log", "--person", "4111 1111 1111 1111")
    own_book.seal()
    [entry] = own_book.entries("log.read")
    assert entry.x["person"] == "4111 11** **** 1111"


@pytest.mark.parametrize("command", ["why", "replay"])
def test_a_card_number_in_place_of_an_id_does_not_get_into_the_book(own_book: SealedBook, command: str) -> None:
    assert run(own_book, command, "4111111111111111").exit_code == 1
    own_book.seal()
    files = [path for path in own_book.directory.rglob("*") if path.is_file()]
    assert [path for path in files if b"4111111111111111" in path.read_bytes()] == []


def test_programs_are_told_too_that_there_are_older_entries(book: SealedBook) -> None:
    result = run(book, "log", "--json", "--limit", "1")
    assert len(result.stdout.splitlines()) == 1
    assert "--limit" in result.stderr
    assert run(book, "log", "--json", "--limit", "1000").stderr == ""


@pytest.mark.parametrize("command", [["log"], ["why", CALL], ["sessions"], ["replay", SESSION]])
def test_nothing_is_shown_where_the_reading_cannot_be_recorded(own_book: SealedBook, command: list[str]) -> None:
    segments = own_book.directory / "segments"
    for each in segments.iterdir():
        each.unlink()
    segments.rmdir()
    segments.write_text("not a directory")
    refused = run(own_book, *command)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "nothing is shown" in refused.stderr


@pytest.mark.parametrize("command", [["log"], ["why", CALL], ["sessions"], ["replay", SESSION]])
def test_a_user_who_may_not_read_is_told_so_by_name(own_book: SealedBook, command: list[str]) -> None:
    assert CliRunner().invoke(app, [*command, "--help"]).exit_code == 0  # loaded by who may read where it lies
    with without_the_right_to_read(own_book) as name:
        refused = CliRunner().invoke(app, [*command, "--data-dir", str(own_book.directory)])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"user {name} may not read" in refused.stderr
    assert "as root where [users] gives each room its own" in refused.stderr


def test_a_directory_without_a_book_is_named(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["log", "--data-dir", str(tmp_path / "absent")])
    assert refused.exit_code == 2
    assert "there is no data directory" in refused.stderr


def test_without_configuration_and_directory_both_are_named(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["log", "--config", str(tmp_path / "absent.toml")])
    assert refused.exit_code == 2
    assert "absent.toml" in refused.stderr
    assert "--data-dir" in refused.stderr


@pytest.mark.parametrize("command", [["log"], ["why", "evil"], ["sessions"], ["replay", SESSION]])
def test_names_that_would_drive_a_terminal_are_shown_not_obeyed(own_book: SealedBook, command: list[str]) -> None:
    own_book.add(_without_payload(a_draft("call.refused", EVIL_NAME, "evil\x1b[1m", ok=False, reason="denied")))
    shown = run(own_book, *command)
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout
    assert "\x07" not in shown.stdout
    if command[0] != "sessions":
        assert "tool\\x1b[2J" in shown.stdout


def _without_payload(draft: Draft) -> Draft:
    return msgspec.structs.replace(draft, payloads=())
