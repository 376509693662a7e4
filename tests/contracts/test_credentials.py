"""The contract of `ports.Credentials`, run for every adapter: the value now, never an old one, and never in words."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gatebook.adapters.secrets import EnvironmentSecrets, FileOrEnvironment, FileSecrets
from gatebook.model.deployment import SecretReference
from gatebook.model.errors import Reason, UpstreamError
from gatebook.ports import Credentials


class Kept(msgspec.Struct):
    """An adapter with a way to keep a secret where it looks (None: take it away)."""

    credentials: Credentials
    reference: SecretReference
    keep: Callable[[bytes | None], None]


def in_file(path: Path, credentials: Credentials) -> Kept:
    def keep(value: bytes | None) -> None:
        if value is None:
            path.unlink(missing_ok=True)
        else:
            new = path.with_name("new")
            new.write_bytes(value)
            new.replace(path)

    return Kept(credentials, SecretReference(scheme="file", locator=str(path)), keep)


def in_environment(make: Callable[[EnvironmentSecrets], Credentials]) -> Kept:
    environment: dict[bytes, bytes] = {}

    def keep(value: bytes | None) -> None:
        environment.pop(b"PAYMENTS", None)
        if value is not None:
            environment[b"PAYMENTS"] = value

    return Kept(make(EnvironmentSecrets(environment)), SecretReference(scheme="env", locator="PAYMENTS"), keep)


@pytest.fixture(params=["file", "env", "file by scheme", "env by scheme"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    match request.param:
        case "file":
            return in_file(tmp_path / "secret", FileSecrets())
        case "env":
            return in_environment(lambda environment: environment)
        case "file by scheme":
            return in_file(tmp_path / "secret", FileOrEnvironment())
        case _:
            return in_environment(lambda environment: FileOrEnvironment(environment=environment))


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        (b"s3cret", b"s3cret"),
        (b"s3cret\n", b"s3cret"),
        (b"s3cret\r\n", b"s3cret"),
        (b"s3cret\n\n", b"s3cret\n"),
        (b" s3cret ", b" s3cret "),
        (b"x" * 65_536, b"x" * 65_536),
    ],
)
def test_the_value_is_what_is_kept_without_one_trailing_newline(kept: Kept, stored: bytes, value: bytes) -> None:
    kept.keep(stored)
    assert kept.credentials.resolve(kept.reference).reveal() == value


def test_a_changed_secret_is_used_at_once(kept: Kept) -> None:
    for value in (b"old", b"new", b"newer"):
        kept.keep(value)
        assert kept.credentials.resolve(kept.reference).reveal() == value
        assert kept.credentials.resolve(kept.reference).reveal() == value


@pytest.mark.parametrize("gone", [None, b"", b"\n", b"s3cret-s3cret" * 6_000])
def test_a_secret_that_is_gone_empty_or_too_large_is_unavailable_and_the_old_one_is_not_used_on(
    kept: Kept, gone: bytes | None
) -> None:
    kept.keep(b"s3cret-old")
    kept.credentials.resolve(kept.reference)
    kept.keep(gone)
    for _ in range(2):
        with pytest.raises(UpstreamError) as refused:
            kept.credentials.resolve(kept.reference)
        assert refused.value.reason is Reason.CREDENTIAL_UNAVAILABLE
        assert refused.value.sent is False
        assert "s3cret" not in str(refused.value)
    kept.keep(b"back")
    assert kept.credentials.resolve(kept.reference).reveal() == b"back"


def test_a_secret_is_not_printed(kept: Kept) -> None:
    kept.keep(b"s3cret")
    secret = kept.credentials.resolve(kept.reference)
    assert "s3cret" not in f"{secret} {secret!r} {[secret]}"


def test_a_file_rewritten_in_place_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    credentials, reference = FileSecrets(), SecretReference(scheme="file", locator=str(path))
    path.write_bytes(b"old")
    os.utime(path, ns=(1, 1))
    assert credentials.resolve(reference).reveal() == b"old"
    path.write_bytes(b"new")
    assert credentials.resolve(reference).reveal() == b"new"


def test_a_symbolic_link_that_is_switched_is_followed_anew(tmp_path: Path) -> None:
    link, reference = tmp_path / "link", SecretReference(scheme="file", locator=str(tmp_path / "link"))
    credentials = FileSecrets()
    for value in ("one", "two"):
        (tmp_path / value).write_text(value)
        os.utime(tmp_path / value, ns=(1, 1))
        link.unlink(missing_ok=True)
        link.symlink_to(value)
        assert credentials.resolve(reference).reveal() == value.encode()


@pytest.mark.timeout(5)
def test_what_is_no_regular_file_is_refused_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(UpstreamError):
            FileSecrets().resolve(SecretReference(scheme="file", locator=str(tmp_path / name)))


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"value")
    credentials, reference = FileSecrets(), SecretReference(scheme="file", locator=str(path))
    assert credentials.resolve(reference) is credentials.resolve(reference)


def test_a_literal_of_the_dev_profile_is_itself() -> None:
    assert FileOrEnvironment().resolve(SecretReference(scheme="literal", locator="demo")).reveal() == b"demo"


def test_without_an_own_environment_the_process_s_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEBOOK_TEST_SECRET", "value")
    assert (
        EnvironmentSecrets().resolve(SecretReference(scheme="env", locator="GATEBOOK_TEST_SECRET")).reveal() == b"value"
    )
