"""What an operator replaces while the desk serves: its certificate, and the key that signs access tokens, under clients that call and log in."""

import base64
import json
import re
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509

from tests.e2e.desk import Place, place
from tests.e2e.desk.test_login import ALICE, claims_of
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed
from tests.faults.certificates import Authority

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL),
]

PATIENCE_S = 60


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("renewing"), secure=True) as here:
        yield here


def until(found: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def key_of(tokens: dict[str, Any]) -> str:
    head = tokens["access_token"].split(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=="))["kid"])


def published(here: Place) -> set[str]:
    return {key["kid"] for key in here.http.get(f"{here.issuer}/oauth/jwks").json()["keys"]}


def said(here: Place, event: str) -> list[dict[str, Any]]:
    lines = (here.gate.directory / "gate.log").read_text().splitlines()
    return [line for line in (json.loads(each) for each in lines if each.startswith("{")) if line["event"] == event]


def test_another_key_signs_and_no_call_is_refused_meanwhile(here: Place) -> None:
    first = newest = here.log_in(here.browser(ALICE))
    done = here.gate.command("roll-desk-key")
    assert "verifies until its tokens are over" in done.stdout and "d=" not in done.stdout

    def signs_anew() -> bool:
        nonlocal newest
        newest = here.refresh(newest["refresh_token"]).json()
        calls = [here.call(tokens["access_token"]) for tokens in (first, newest) for _ in range(4)]
        assert calls == [200] * 8, "whichever worker it reaches, and whichever key signed"
        return key_of(newest) != key_of(first)

    until(signs_anew, "a token of the new key")
    assert claims_of(newest["access_token"])["sid"] == claims_of(first["access_token"])["sid"], "nobody logged in again"
    assert published(here) == {key_of(first), key_of(newest)}
    here.kill_desk()
    here.until_the_desk_answers()
    again = here.refresh(newest["refresh_token"]).json()
    assert key_of(again) == key_of(newest)
    assert [here.call(tokens["access_token"]) for tokens in (first, again)] == [200, 200]


def test_a_stolen_key_verifies_nothing_from_now_on_and_clients_go_on(here: Place) -> None:
    tokens = here.log_in(here.browser(ALICE))
    stolen = key_of(tokens)
    here.gate.command("roll-desk-key", "--now")
    until(lambda: [here.call(tokens["access_token"]) for _ in range(4)] == [401] * 4, "its tokens are refused")
    until(lambda: stolen not in published(here), "it is not published")
    newer = here.refresh(tokens["refresh_token"]).json()
    assert key_of(newer) != stolen
    until(lambda: [here.call(newer["access_token"]) for _ in range(4)] == [200] * 4, "every worker knows the new one")


def test_a_key_that_cannot_be_read_changes_nothing_and_is_said(here: Place) -> None:
    path = here.gate.data_dir / "keys" / "desk-signing.jwk"
    good = path.read_bytes()
    try:
        path.write_bytes(b"{}")
        until(lambda: bool(said(here, "desk.key_refused")), "it is said")
        assert here.call(here.log_in(here.browser(ALICE))["access_token"]) == 200
    finally:
        path.write_bytes(good)


def serial(here: Place) -> int:
    """Of the certificate that a new connection gets."""
    host, port = here.issuer.partition("://")[2].split(":")
    return x509.load_pem_x509_certificate(ssl.get_server_certificate((host, int(port))).encode()).serial_number


def test_a_renewed_certificate_is_used_and_one_without_its_key_is_not(here: Place, tmp_path: Path) -> None:
    [(certificate, key)] = re.findall(
        r'tls = \{ certificate = "([^"]+)", key = "([^"]+)" \}', here.gate.config.read_text()
    )
    before, authority = serial(here), Authority(tmp_path)
    renewed, its_key = authority.issue("127.0.0.1")
    shutil.copy(renewed, certificate)
    until(lambda: bool(said(here, "certificate.refused")), "half of a pair is refused")
    assert serial(here) == before
    shutil.copy(its_key, key)
    until(lambda: serial(here) != before, "the new one is in use")
    assert said(here, "certificate.loaded")
    trusting = ssl.create_default_context(cafile=authority.certificate)
    with httpx2.Client(trust_env=False, verify=trusting) as http:
        assert http.get(f"{here.issuer}/healthz").status_code == 200
