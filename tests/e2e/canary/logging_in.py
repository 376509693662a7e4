"""People and jobs log in at a desk in every way there is, well and badly, and every secret that came by is kept: what the canary looks for.

Collected where they pass, not where they are made: a secret of a new kind that travels through a browser is found without anybody naming it.
"""

import base64
import contextlib
import html
import json
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
from cryptography.hazmat.primitives import serialization

from tests import ci_issuers
from tests.asserting import Maker
from tests.e2e.desk import CALLBACK, Browser, Place, place
from tests.e2e.desk.test_jobs import CLUSTER_URL, CONFIGURATION, NIGHTLY, Jobs
from tests.e2e.gate import free_port
from tests.e2e.oidc_provider import GATEBOOK_SECRET, Person
from tests.e2e.saml.conftest import PAPER, SamlPlace
from tests.e2e.saml.conftest import configuration as saml_configuration
from tests.e2e.saml.test_saml_attacks import Begun
from tests.issuing import Issuer

ALICE = Person(sub="00u1alice", groups=("support",), amr=("pwd", "otp"))
PUBLIC = frozenset(
    "client_id redirect_uri resource scope response_type response_mode code_challenge code_challenge_method prompt iss SigAlg Signature "
    "SAMLRequest idp max_age acr_values claims login_hint grant_type answer person access_type sid".split()
)
"""Parameters that are no secret: who asks, for what, and hashes and signatures of what is."""
SHORTEST = 16
PIECE = 24


class Collected:
    """`secrets`: value → name, each of which must be found nowhere that the gate writes."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}

    def keep(self, name: str, value: str) -> None:
        """A long value is looked for by two pieces of it, so that half of it is found; a JWT without its header, which is the same in all."""
        jwt = re.fullmatch(r"[\w-]+\.([\w-]+)\.([\w-]+)", value)
        parts = {name: value} if jwt is None else {f"{name}, claims": jwt[1], f"{name}, signature": jwt[2]}
        for what, part in parts.items():
            assert len(part) >= SHORTEST, f"{what} would be found anywhere"
            if len(part) <= 2 * PIECE:
                self.secrets.setdefault(part, what)
            else:
                self.secrets.setdefault(part[len(part) // 2 :][:PIECE], f"{what}, middle")
                self.secrets.setdefault(part[-PIECE:], f"{what}, end")

    def watch(self, browser: Browser, desk: str) -> Browser:
        """What passes through this browser to and from the desk is kept: parameters, hidden fields, cookies."""

        def seen(response: httpx2.Response) -> None:
            response.read()
            for url in (str(response.request.url), response.headers.get("location", "")):
                if str(response.request.url).startswith(desk) or url.startswith(desk):
                    self._parameters(urlsplit(url).path, parse_qsl(urlsplit(url).query))
            if not str(response.request.url).startswith(desk):
                return
            self._parameters("a form", parse_qsl(response.request.content.decode("utf-8", "replace")))
            for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', response.text):
                self._parameters("a page", [(name, html.unescape(value))])
            for name, value in re.findall(r"([\w-]+)=([^;]+)", response.request.headers.get("cookie", "")):
                self.keep(f"cookie {name}", value)

        browser.http.event_hooks["response"] = [seen]
        return browser

    def answer(self, what: str, response: httpx2.Response) -> dict[str, Any]:
        """An answer of the token endpoint; its tokens are kept."""
        assert response.status_code == 200, (what, response.text)
        found: dict[str, Any] = response.json()
        self.tokens(what, found)
        return found

    def plants(self) -> dict[str, bytes]:
        """Each under a name of its own, for the search."""
        return {f"{number} {name}": value.encode() for number, (value, name) in enumerate(self.secrets.items())}

    def tokens(self, what: str, answer: dict[str, Any]) -> None:
        for name in ("access_token", "refresh_token", "id_token"):
            if isinstance(answer.get(name), str):
                self.keep(f"{name} of {what}", answer[name])

    def _parameters(self, where: str, found: list[tuple[str, str]]) -> None:
        for name, value in found:
            if name not in PUBLIC and len(value) >= SHORTEST and "://" not in value:
                self.keep(f"{name} in {where}", value)


class Everything:
    """A gate with its desk, an OpenID provider, a SAML provider and an issuer for jobs. `written`: what the gate writes into."""

    def __init__(self, here: Place, paper: Maker, jobs: Jobs) -> None:
        self.here = here
        self.saml = SamlPlace(here, None, paper, 0)
        self.jobs = jobs
        self.collected = Collected()
        self.collected.keep("client secret", GATEBOOK_SECRET)
        self.written = (here.gate.data_dir, here.gate.directory / "gate.log", here.gate.directory / "tmp")

    def by_oidc(self) -> None:
        """A login, refreshes, another server, a killed desk, a revocation; and codes, tokens and callbacks where they do not belong."""
        here, kept = self.here, self.collected
        browser = here.browser(ALICE, idp="corp")
        kept.watch(browser, here.issuer)
        verifier = secrets.token_urlsafe(48)
        kept.keep("PKCE verifier of the client", verifier)
        code = browser.visit(here.request(verifier=verifier)).answer["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": verifier}
        first = kept.answer("the login", here.token(**form))
        assert here.call(first["access_token"]) == 200
        second = kept.answer("the refresh", here.refresh(first["refresh_token"]))
        here.kill_desk()
        here.until_the_desk_answers()
        orders = kept.answer("another server", here.refresh(here.log_in(browser, "orders")["refresh_token"]))
        self._badly(first, second, form, browser)
        for tokens in (second, orders):
            here.http.post(
                f"{here.issuer}/oauth/revoke", data={"client_id": "test-program", "token": tokens["refresh_token"]}
            )
            assert here.call(tokens["access_token"]) == 401
        for number, answer in enumerate(here.idp.given()):
            kept.tokens(f"the provider, {number}", answer)

    def _badly(self, first: dict[str, Any], second: dict[str, Any], form: dict[str, str], browser: Browser) -> None:
        here = self.here
        stranger = {"client_id": "https://vscode.dev/oauth/client-metadata.json"}
        assert here.token(**form).status_code == 400, "a code is good once"
        assert here.refresh(second["refresh_token"], **stranger).status_code == 400
        assert (
            here.http.get(
                f"{here.issuer}/login/oidc/corp/callback?code={form['code']}&state={form['code_verifier']}"
            ).status_code
            == 400
        )
        for misplaced in (
            first["refresh_token"],
            first["access_token"] + "x",
            second["refresh_token"].replace("gbr1", "gbr2"),
        ):
            assert here.call(misplaced) == 401
            assert here.refresh(misplaced).status_code == 400
        paused = browser.visit(here.request(prompt="login"), pause_at="/login/oidc/corp/callback")
        assert paused.location is not None
        other = self.collected.watch(here.browser(ALICE, idp="corp"), here.issuer)
        assert other.visit(paused.location).status == 400, "the callback of another browser"
        here.idp.administer(out=True)
        unanswered = browser.visit(paused.location)
        assert "provider_unreachable" in unanswered.text, "a code that the provider could not be asked about"
        here.idp.administer(out=False)

    def by_saml(self) -> None:
        """A login, the same answer a second time, and an answer stolen by another browser."""
        kept, here = self.collected, self.here
        begun = Begun(self.saml, verifier="w" * 64)
        kept.watch(begun.browser, here.issuer)
        kept.keep("ID of the SAML request", begun.xml.get("ID"))
        kept.keep("RelayState", begun.relay_state)
        xml = begun.scene.response(assertion=begun.scene.assertion(id=f"_{time.monotonic_ns()}"))
        kept.keep("SAML response", base64.b64encode(xml).decode())
        kept.keep("SAML response as XML", xml.decode())
        for signature in re.findall(r"<\w+:SignatureValue>([^<]+)<", xml.decode()):
            kept.keep("signature of an assertion", signature.replace("\n", ""))
        page = begun.goes_on(begun.post(xml))
        form = {"grant_type": "authorization_code", "code": page.answer["code"], "redirect_uri": CALLBACK}
        kept.keep("code of the SAML login", page.answer["code"])
        tokens = kept.answer("the SAML login", here.token(**form, code_verifier="w" * 64))
        assert here.call(tokens["access_token"]) == 200
        again = begun.goes_on(begun.post(xml))
        assert again.status == 400
        later = Begun(self.saml)
        kept.watch(later.browser, here.issuer)
        assert later.post(xml).status_code in (303, 400)

    def by_jobs(self) -> None:
        """A GitHub-shaped token and a key of the job's own; a renewal, and each of them where it does not belong."""
        kept, jobs = self.collected, self.jobs
        subject_token = jobs.of_github()
        kept.keep("token of a GitHub job", subject_token)
        first = kept.answer("a GitHub job", jobs.exchange(subject_token))
        kept.answer("a GitHub job, renewed", jobs.renew(first["access_token"]))
        assertion = jobs.assertion()
        kept.keep("assertion of a cron job", assertion)
        kept.answer("a cron job", jobs.assert_as_job(assertion))
        assert jobs.exchange(subject_token).status_code == 400 and jobs.assert_as_job(assertion).status_code in (
            400,
            401,
        )
        forged = jobs.of_github() + "A"
        kept.keep("a forged token of a job", forged)
        assert jobs.exchange(forged).status_code == 400
        assert self.here.call(subject_token) == 401
        assert self.here.call(first["access_token"]) == 200


@contextlib.contextmanager
def everything(directory: Path, *, desk: str = "", env: dict[str, str] | None = None) -> Iterator[Everything]:
    """All of it running. The desk's client secret lies outside of what is searched; `desk`: more lines of its table."""
    root = directory / "place"
    (root / "tmp").mkdir(parents=True)
    (directory / "client-secret").write_text(GATEBOOK_SECRET)
    paper = Maker(PAPER, desk="", name="paper", key="paper")
    cluster = Issuer(CLUSTER_URL, name="cluster", kind="job", algorithm="RS256")
    (root / "cluster.json").write_text(json.dumps(cluster.jwks()))
    pem = NIGHTLY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (root / "nightly.pem").write_bytes(pem)
    with ci_issuers.published("github", "gitlab") as (served, (github, gitlab)):
        more = saml_configuration(root, None, paper, free_port()) + CONFIGURATION.format(
            github=github.url, gitlab=gitlab.url, cluster=CLUSTER_URL, uid=ci_issuers.ACCOUNT_UID
        )
        with place(
            root,
            more,
            desk=desk,
            env={"TMPDIR": str(root / "tmp"), **(env or {})},
            changed=lambda text: text.replace(f"literal:{GATEBOOK_SECRET}", f"file:{directory / 'client-secret'}"),
        ) as here:
            paper.desk = here.issuer
            made = Everything(
                here, paper, Jobs(here=here, published=served, github=github, gitlab=gitlab, cluster=cluster)
            )
            try:
                yield made
            finally:
                made.saml.close()
