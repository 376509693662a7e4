"""What people see: in a real Chromium by keyboard alone, and the page "how I am seen" with what its buttons do."""

import html
import itertools
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from tests.e2e.browser import CHROMIUM, HOW_TO_INSTALL, arrive, go, look, press, tab_to, walk, write
from tests.e2e.desk import Browser, Page, Place, place
from tests.e2e.nodejs import HOW_TO_INSTALL as HOW_TO_INSTALL_NPM
from tests.e2e.nodejs import npm_packages_installed
from tests.e2e.oidc_provider import Person

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL_NPM),
]
in_chromium = pytest.mark.skipif(not CHROMIUM, reason=HOW_TO_INSTALL)

ALICE = Person(
    sub="00u1alice", groups=("support", "/staff"), amr=("pwd", "otp"), claims={"email": "alice@example.com", "email_verified": True}
)  # fmt: skip
VERIFIER = "v" * 64
REFUNDS = '[[role]]\nname = "refunds"\nmatch = [ { issuer = "corp", group = "finance" } ]\nallow = [ { server = "payments", tools = ["refund"] } ]\n'


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("desk"), REFUNDS) as here:
        yield here


@pytest.fixture
def callback(here: Place) -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """A client's own listener on loopback, which redeems what browsers bring, and what that was."""
    came: list[dict[str, list[str]]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith("/callback?"):
                self.send_error(404)
                return
            came.append(parse_qs(urlsplit(self.path).query))
            form = {"grant_type": "authorization_code", "code": came[-1]["code"][0], "code_verifier": VERIFIER}
            assert here.token(**form, redirect_uri=url).status_code == 200
            body = b"<!doctype html><title>Back</title><h1>Back at the program</h1>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        url = f"http://127.0.0.1:{server.server_port}/callback"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield url, came
        server.shutdown()
        thread.join()


def written(person: Person) -> str:
    return json.dumps(msgspec.to_builtins(person))


# In Chromium


@in_chromium
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_a_person_logs_in_and_agrees_by_keyboard_alone_and_the_policy_is_never_hit(
    here: Place, callback: tuple[str, list[dict[str, list[str]]]], tmp_path: Path, width: int, scheme: str
) -> None:
    url, came = callback
    walked = walk(
        here.request(redirect_uri=url, verifier=VERIFIER), arrive(here.idp.url), tab_to(""), write(written(ALICE)), press("Enter"),
        arrive(f"{here.issuer}/consent"), look(tmp_path / "consent.png"), tab_to("Allow"), press("Enter"), arrive(url),
        go(f"{here.issuer}/me"), look(tmp_path / "me.png"), tab_to("End it"), press("Enter"), arrive(f"{here.issuer}/me?done=ended"),
        look(), tab_to("Log out of this browser"), press("Enter"), arrive(f"{here.issuer}/me/logout"), look(),
        go(here.request(redirect_uri="https://evil.example/callback")), look(tmp_path / "refused.png"),
        width=width, scheme=scheme,
    )  # fmt: skip
    # The last page is an error on purpose, and the browser says that; of our pages it has nothing else to say, and of no page a word of policy.
    complaints = [line for line in walked.violations if here.issuer in line or "Content Security Policy" in line]
    assert [line for line in complaints if "status of 400" not in line] == []
    assert len(came) == 1 and came[0]["iss"] == [here.issuer] and "code" in came[0]
    consent, own, ended, out, refused = walked.visited
    assert [page["h1"] for page in walked.visited] == [
        "May this program act for you?", "How I am seen", "How I am seen", "You are logged out", "That did not work",
    ]  # fmt: skip
    assert refused["status"] == 400
    for page in walked.visited:
        assert not page["overflow"], (page["url"], width)
        assert page["order"][0]["name"] == "Skip to the content"
        assert all(stop["seen"] and stop["name"] for stop in page["order"]), page["order"]
    assert [stop["name"] for stop in consent["order"]][-2:] == ["Allow", "Deny"]
    assert "End it" in [stop["name"] for stop in own["order"]]
    assert "End it" not in [stop["name"] for stop in ended["order"]]
    assert "Log in again" in [stop["name"] for stop in out["order"]]
    sites = {urlsplit(request).netloc for request in walked.requests}
    assert sites <= {urlsplit(each).netloc for each in (here.issuer, here.idp.url, url)}, "nothing comes from elsewhere"


@in_chromium
def test_of_several_providers_one_is_chosen_by_keyboard(tmp_path: Path) -> None:
    partner = '[[idp]]\nname = "partner"\nurl = "http://localhost:9"\nclient_id = "gatebook"\n'
    with place(tmp_path / "desk", partner) as here:
        for width in (390, 1440):
            walked = walk(here.request(), look(), tab_to("corp"), press("Enter"), arrive(here.idp.url), width=width)
            [choice] = walked.visited
            assert (choice["h1"], choice["status"], choice["overflow"]) == ("Log in", 200, False)
            names = [stop["name"].split()[0] for stop in choice["order"]]
            assert names == ["Skip", "corp", "partner"] and all(stop["seen"] for stop in choice["order"])
            assert not [line for line in walked.violations if here.issuer in line or "Content Security" in line]
        page = here.browser(ALICE).visit(f"{here.issuer}/me")
        assert "Log in to see how Gatebook sees you." in said(page)
        unreachable = here.browser(ALICE).visit(f"{page.url}&idp=partner")
        assert unreachable.status == 400 and "browser_other" in unreachable.text
        browser = here.browser(ALICE)
        told = browser.visit(f"{browser.visit(here.request()).url}&idp=partner")
        assert told.status == 502 and "Try again in a few minutes." in told.text and "gatebook why" in told.text


# "How I am seen"


def own_page(here: Place, browser: Browser) -> Page:
    page = browser.visit(f"{here.issuer}/me")
    assert (page.status, urlsplit(page.url).path) == (200, "/me"), page.text[:600]
    return page


def said(page: Page) -> str:
    """The page's text, as one who reads it without style."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.text)).split())


def push(here: Place, browser: Browser, page: Page, path: str, **form: str) -> Any:
    token = re.search(r'name="token" value="([^"]+)"', page.text)
    assert token is not None
    return browser.http.post(here.issuer + path, data={"token": token[1], **form})


def sid_of(page: Page) -> str:
    [sid] = re.findall(r'name="sid" value="([^"]+)"', page.text)
    return str(sid)


def test_it_tells_who_i_am_what_i_proved_and_which_roles_i_hold_and_why(here: Place) -> None:
    browser = here.browser(ALICE)
    text = said(own_page(here, browser))
    assert (browser.logins, browser.clicks) == (1, 0), "a login of its own, and no consent: no program asked"
    assert f"00u1alice at {here.idp.url}" in text and "alice@example.com" in text
    assert "multi-factor: proven" in text and "pwd otp" in text
    assert "support some role asks for it" in text and "1 that no role asks for /staff" in text
    assert "support held Because you are in the group support" in text and "payments : tools get_*, list_*" in text
    assert "refunds not held Because it takes the group finance, which your login does not name" in text
    assert "From the claim groups of corp, as it was at" in text
    assert "Programs that act for me None." in text


@pytest.mark.parametrize(
    ("person", "words"),
    [
        (Person(sub="00u2bob", groups=("support",), amr=("pwd",)), "multi-factor: none"),
        (Person(sub="00u3eve"), "corp named no group of yours"),
        (Person(sub="00u4mo", claims={"hasgroups": True}), "did not send them all. Then none counts"),
        (Person(sub="00u9x", groups=("<b>bold</b>",)), "1 that no role asks for <b>bold</b>"),
    ],
)
def test_it_says_what_is_missing(here: Place, person: Person, words: str) -> None:
    page = own_page(here, here.browser(person))
    assert words in said(page)
    assert "<b>" not in page.text


def test_a_program_that_is_ended_there_is_refused_at_its_next_call_and_no_other(here: Place) -> None:
    browser = here.browser(Person(sub="00u5fay", groups=("support",)))
    mine, other = here.log_in(browser), here.log_in(browser, "orders")
    page = own_page(here, browser)
    assert said(page).count("Test program at") == 2
    [sid] = re.findall(r'id="grant-([^"]+)">Test program <span class="quiet">at</span> payments', page.text)
    answer = push(here, browser, page, "/me/end", sid=sid)
    assert (answer.status_code, answer.headers["location"]) == (303, "/me?done=ended")
    assert [here.call(mine["access_token"]) for _ in range(6)] == [401] * 6, "every worker knew when it was answered"
    assert here.refresh(mine["refresh_token"]).json()["error"] == "invalid_grant"
    assert here.call(other["access_token"], "orders") == 200
    [entry] = [each for each in here.entries() if each["ev"] == "grant.revoked" and each["res"]["name"] == sid]
    assert (entry["x"]["why"], entry["who"]["sub"]) == ("ended_by_person", "00u5fay")


def test_nobody_ends_what_is_anothers(here: Place) -> None:
    victim, attacker = here.browser(Person(sub="00u6gil", groups=("support",))), here.browser(ALICE)
    tokens = here.log_in(victim)
    sid = sid_of(own_page(here, victim))
    assert push(here, attacker, own_page(here, attacker), "/me/end", sid=sid).status_code == 303
    assert here.call(tokens["access_token"]) == 200


@pytest.mark.parametrize("path", ["/me/end", "/me/logout"])
def test_a_form_that_our_page_did_not_send_does_nothing(here: Place, path: str) -> None:
    browser = here.browser(Person(sub=f"00u7hal{path[-3:]}", groups=("support",)))
    tokens = here.log_in(browser)
    page = own_page(here, browser)
    form = {"sid": sid_of(page), "what": "everywhere"}
    for token in ("", "x" * 43):
        answer = browser.http.post(here.issuer + path, data={**form, "token": token})
        assert answer.status_code == 400 and "form_forged" in answer.text
    good = re.search(r'name="token" value="([^"]+)"', page.text)
    assert good is not None
    crossed = browser.http.post(
        here.issuer + path, data={**form, "token": good[1]}, headers={"origin": "https://evil.example"}
    )
    assert crossed.status_code == 400
    stranger = here.browser(ALICE).http.post(here.issuer + path, data={**form, "token": good[1]})
    assert stranger.status_code == 400
    assert here.call(tokens["access_token"]) == 200
    here.caused("form_forged")


def test_logging_out_here_leaves_programs_alone_and_the_old_cookie_is_worth_nothing(here: Place) -> None:
    browser = here.browser(Person(sub="00u8ida", groups=("support",)))
    tokens = here.log_in(browser)
    page = own_page(here, browser)
    kept = dict(browser.http.cookies)
    answer = push(here, browser, page, "/me/logout", what="here")
    assert answer.status_code == 200 and "This browser is logged out" in answer.text
    assert here.call(tokens["access_token"]) == 200
    browser.http.cookies.update(kept)
    again = browser.http.get(f"{here.issuer}/me")
    assert again.status_code == 303, "a copy of the cookie is no login any more"
    ended = [each for each in here.entries() if each["ev"] == "login.ended" and each["who"]["sub"] == "00u8ida"]
    assert [each["x"]["everywhere"] for each in ended] == [False]


def test_logging_out_everywhere_ends_every_program_of_every_browser(here: Place) -> None:
    person = Person(sub="00u9jan", groups=("support",))
    one, other = here.browser(person), here.browser(person)
    tokens = [here.log_in(one), here.log_in(other, "orders")]
    page = own_page(here, one)
    assert said(page).count("Test program at") == 2 and "from another login of yours" in said(page)
    assert push(here, one, page, "/me/logout", what="everywhere").status_code == 200
    assert [here.call(tokens[0]["access_token"]), here.call(tokens[1]["access_token"], "orders")] == [401, 401]
    assert other.http.get(f"{here.issuer}/me").status_code == 303, "that browser is logged out, too"


def test_the_login_for_the_page_gives_no_program_anything(here: Place) -> None:
    """The client behind `/me` is nobody's: it can ask for no code, and its request opens no consent."""
    answer = here.http.get(here.request(client_id="gatebook:own-page", redirect_uri=""))
    assert answer.status_code == 400 and "client_unknown" in answer.text
    browser = here.browser(ALICE)
    begun = browser.http.get(f"{here.issuer}/me")
    handle = parse_qs(urlsplit(begun.headers["location"]).query)["request"][0]
    forged = browser.http.post(f"{here.issuer}/consent", data={"request": handle, "token": "x", "answer": "allow"})
    assert forged.status_code == 400


# Errors, and what consent says


def test_the_id_on_an_error_page_is_found_by_why(here: Place) -> None:
    page = here.browser(ALICE).visit(here.request(redirect_uri="https://evil.example/callback"))
    found = re.search(r"gatebook why ([0-9a-f]{32})", page.text)
    assert found is not None and "What to do:" in page.text
    here.caused("redirect_mismatch")
    told = here.gate.command("why", found[1]).stdout
    assert "refused: login_refused; nothing was issued" in told
    assert "cause redirect_mismatch" in told and "hint registered: http://127.0.0.1/callback" in told


def test_consent_says_in_words_what_the_program_may_do(here: Place) -> None:
    browser = here.browser(Person(sub="00uaken", groups=("marketing",)))
    for each, words in (
        (here.browser(Person(sub="00ublea", groups=("support",))), "tools get_*, list_*"),
        (browser, "you hold no role"),
    ):
        shown = each.visit(here.request(), pause_at="/consent")
        text = said(_get(each, shown))
        assert words in text and "Test program" in text and "payments" in text and "127.0.0.1:7777" in text


def _get(browser: Browser, page: Page) -> Page:
    assert page.location is not None
    response = browser.http.get(page.location)
    return Page(status=response.status_code, url=str(response.url), text=response.text, headers={})


def test_a_page_is_whole_without_style_or_script(here: Place) -> None:
    page = own_page(here, here.browser(ALICE))
    assert "<script" not in page.text and " style=" not in page.text and "<style" not in page.text
    assert re.findall(r'(?:src|href)="([^"#]+)"', page.text) == ["/desk.css"]
    policy = page.headers["content-security-policy"]
    assert policy == "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    levels = [int(level) for level in re.findall(r"<h([1-6])", page.text)]
    assert levels[0] == 1 and all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_in_a_flood_the_page_says_that_refusals_are_counted_and_shows_no_id_that_nobody_finds(here: Place) -> None:
    """Last in this file: afterwards this address has used up its entries of the minute."""
    pages = [here.http.get(f"{here.issuer}/login?request=x").text for _ in range(260)]
    assert "gatebook why" in pages[0]
    assert "gatebook why" not in pages[-1] and "counted in the log" in pages[-1]
    shown = [found[1] for page in pages if (found := re.search(r"gatebook why ([0-9a-f]{32})", page))]
    kept = {entry.get("call") for entry in here.entries()}
    assert set(shown) <= kept
