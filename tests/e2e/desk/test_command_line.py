"""The command line as a named person: it logs in at a real desk through a real provider, reads and revokes there, and every act is an entry."""

import base64
import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from gatebook.ledger.note import generate_key
from gatebook.serve.desk_http.api_routes import GUARDED
from tests.e2e.desk import Place, place
from tests.e2e.desk.command_line import CLI_ID, DESK_ROLES, GROUPS, Shell, entries_of, person, refusals_of
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed
from tests.e2e.oidc_provider import Person

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL),
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    key = 'payload_key = "data/keys/payloads.key"'
    with place(tmp_path_factory.mktemp("cli"), DESK_ROLES, desk=key) as here:
        yield here


class People:
    """Shells of people, each logged in once for the module."""

    def __init__(self, here: Place, directory: Path) -> None:
        self.here = here
        self._directory = directory
        self._shells: dict[str, Shell] = {}

    def shell(self, who: Person, *, logged_in: bool = True) -> Shell:
        if who.sub not in self._shells:
            shell = self._shells[who.sub] = Shell(self.here, self._directory / who.sub, self.here.browser(who))
            if logged_in:
                shell.log_in()
        return self._shells[who.sub]

    def with_role(self, *roles: str) -> Shell:
        return self.shell(person(f"00u-{'-'.join(roles) or 'nobody'}", *roles))


@pytest.fixture(scope="module")
def people(here: Place, tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(here, tmp_path_factory.mktemp("homes"))


def kept(shell: Shell) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shell.logins.read_text())
    return found


def api_token(shell: Shell) -> str:
    token: str = kept(shell)["given"][f"{shell.here.issuer}/api"]["access_token"]
    return token


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return found


# Logging in


def test_a_person_logs_in_is_named_gets_a_token_and_logs_out(here: Place, people: People) -> None:
    shell = people.shell(Person(sub="00u1carol", groups=("support",), amr=("pwd", "otp")))
    seen = json.loads(shell.type("whoami", "--json").stdout)
    assert (seen["idp"], seen["subject"], seen["mfa"], seen["roles"]) == ("corp", "00u1carol", "proven", [])
    assert {each["name"]: each["resource"] for each in seen["servers"]}["payments"] == here.resource("payments")
    assert "00u1carol at corp" in shell.type("whoami").stdout

    token = shell.type_and_log_in("token", "payments").strip()
    assert here.call(token) == 200
    assert here.call(token, "orders") == 401, "a token is for one server"
    assert shell.type("token", here.resource("payments")).stdout.strip() == token, "nobody is asked again"

    assert stat.S_IMODE(shell.logins.stat().st_mode) == 0o600
    assert stat.S_IMODE(shell.logins.parent.stat().st_mode) == 0o700
    shell.type("logout")
    assert not shell.logins.exists()
    assert [here.call(token) for _ in range(4)] == [401] * 4, "what it was granted has ended at the gate"
    nobody = shell.type("whoami", check=False)
    assert nobody.returncode == 1 and "gatebook login" in nobody.stderr


def test_nothing_but_gatebook_token_prints_a_token(here: Place, people: People) -> None:
    shell = people.shell(person("00u1dora", "auditor"))
    secrets = [each[name] for each in kept(shell)["given"].values() for name in ("access_token", "refresh_token")]
    for words in (("whoami",), ("log",), ("sessions",), ("grants",)):
        done = shell.type(*words, check=False)
        assert not any(secret in done.stdout + done.stderr for secret in secrets)


def test_a_token_that_is_about_to_end_is_renewed_by_one_of_many_processes(here: Place, people: People) -> None:
    shell = people.shell(person("00u1elsa", "auditor"))
    before = kept(shell)
    resource = f"{here.issuer}/api"
    before["given"][resource]["expires_at"] = time.time() + 5
    shell.logins.write_text(json.dumps(before))
    assert shell.type("whoami").returncode == 0
    after = kept(shell)["given"][resource]
    assert after["access_token"] != before["given"][resource]["access_token"]
    assert after["refresh_token"] != before["given"][resource]["refresh_token"]
    assert stat.S_IMODE(shell.logins.stat().st_mode) == 0o600


def test_a_file_that_others_may_read_is_not_used(here: Place, people: People) -> None:
    shell = people.shell(person("00u1fred"))
    shell.logins.chmod(0o644)
    refused = shell.type("whoami", check=False)
    shell.logins.chmod(0o600)
    assert refused.returncode == 1 and "chmod 600" in refused.stderr


def test_an_answer_with_another_state_does_not_end_the_wait_and_gives_nothing(here: Place, people: People) -> None:
    shell = people.shell(Person(sub="00u1gina"), logged_in=False)
    honest = shell.browser.visit

    def with_an_intruder(url: str, **options: Any) -> Any:
        page = honest(url, stop_at=parse_qs(urlsplit(url).query)["redirect_uri"][0])
        assert page.location is not None
        forged = page.location.partition("?")[0] + f"?code=stolen&state=guessed&iss={here.issuer}"
        assert here.http.get(forged).status_code == 404
        return honest(page.location, **options)

    shell.browser.visit = with_an_intruder  # type: ignore[method-assign]
    shell.log_in()
    assert "00u1gina" in shell.type("whoami").stdout


def test_each_login_for_the_api_is_asked_for_although_the_browser_is_logged_in(here: Place, people: People) -> None:
    """Any program on the machine can use the command line's id (RFC 8252 §8.6)."""
    shell = people.shell(person("00u1ines"))
    shell.log_in()
    assert (shell.browser.logins, shell.browser.clicks) == (1, 2)


def test_an_answer_of_another_desk_is_not_taken(here: Place, people: People) -> None:
    shell = people.shell(Person(sub="00u1gwen"), logged_in=False)
    honest = shell.browser.visit

    def mixed_up(url: str, **options: Any) -> Any:
        page = honest(url, stop_at=parse_qs(urlsplit(url).query)["redirect_uri"][0])
        assert page.location is not None
        return honest(
            page.location.replace(quote(here.issuer, safe=""), quote("https://evil.example", safe="")), **options
        )

    shell.browser.visit = mixed_up  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="another desk"):
        shell.log_in()
    assert not shell.logins.exists()


def test_no_other_client_gets_a_token_for_the_api(here: Place) -> None:
    page = here.browser(person("00u1hans", "auditor")).visit(here.request(resource=f"{here.issuer}/api"))
    assert page.answer["error"] == "invalid_target"
    here.caused("resource_invalid")


# Who may what


def route(path: str) -> str:
    return path.replace("{name:str}", "0")


@pytest.mark.parametrize("held", ["nobody", *GROUPS])
def test_every_route_demands_its_role_and_no_other_will_do(here: Place, people: People, held: str) -> None:
    shell = people.with_role(*(() if held == "nobody" else (held,)))
    shell.type("whoami")  # renews what has grown old
    headers = {"authorization": f"Bearer {api_token(shell)}"}
    for method, path, role, _ in GUARDED:
        answer = here.http.request(method, here.issuer + route(path), headers=headers)
        allowed = role is None or role == held
        assert (answer.status_code == 403) == (not allowed), (method, path, held, answer.status_code)
        assert answer.status_code not in (401, 405, 500, 503)
    demanding = [path for _, path, role, _ in GUARDED if role not in (None, held)]
    refused = entries_of(here, "api.refused", f"00u-{held}", len(demanding))
    assert len(refused) >= len(demanding)
    assert {entry["x"]["role"] for entry in refused} == {role for _, _, role, _ in GUARDED} - {None, held}


def test_a_role_that_demands_several_factors_is_not_held_without_them(here: Place, people: People) -> None:
    """Whoever holds none is let in with what they have; whoever holds one is sent back until the provider proves it."""
    bob = people.shell(Person(sub="00u1onefactor", groups=("support",), amr=("pwd",)))
    seen = json.loads(bob.type("whoami", "--json").stdout)
    assert (seen["mfa"], seen["roles"]) == ("none", [])

    one, two = (Person(sub="00u1oncall", groups=("on-call",), amr=amr) for amr in (("pwd",), ("pwd", "otp")))
    shell = people.shell(one, logged_in=False)
    assert "mfa_missing" in shell.type_and_be_refused("login", "--desk", here.issuer)
    assert "nobody is logged in" in shell.type("grants", check=False).stderr
    [refused] = [entry["x"] for entry in refusals_of(here) if entry["x"]["cause"] == "mfa_missing"]
    assert refused["hint"] == "mfa is none; amr pwd"

    shell.browser = here.browser(two)
    shell.log_in()
    assert json.loads(shell.type("whoami", "--json").stdout)["roles"] == ["admin"]
    assert shell.type("grants").returncode == 0
    logged_in = len(entries_of(here, "login.completed", "00u1oncall"))
    shell.type_and_log_in("login", "--desk", here.issuer, "--fresh")
    assert len(entries_of(here, "login.completed", "00u1oncall", logged_in + 1)) == logged_in + 1
    first = shell.type_and_log_in("token", "payments")
    assert shell.type("token", "payments").stdout == first
    assert shell.type_and_log_in("token", "payments", "--fresh") != first
    assert len(entries_of(here, "login.completed", "00u1oncall", logged_in + 2)) == logged_in + 2


def test_a_token_that_is_none_of_the_apis_opens_nothing(here: Place, people: People) -> None:
    shell = people.with_role("auditor")
    api = f"{here.issuer}/api/me"
    of_a_server = here.log_in(here.browser(person("00u-auditor", "auditor", groups=("support",))))["access_token"]
    forged = api_token(shell)[:-8] + "AAAAAAAA"
    for token in (of_a_server, forged, "x"):
        answer = here.http.get(api, headers={"authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert here.http.get(api).headers["www-authenticate"] == "Bearer"
    assert here.http.get(f"{api}?access_token={api_token(shell)}").status_code == 401
    assert here.call(api_token(shell)) == 401, "nor is a token of the API good at a server"
    reasons = [entry["out"]["reason"] for entry in entries_of(here, "api.refused", "unknown", 5)]
    assert {"token_audience", "token_invalid", "credential_missing", "credential_malformed"} <= set(reasons)


def test_no_cookie_opens_the_api_and_no_page_of_another_origin_reads_it(here: Place) -> None:
    browser = here.browser(person("00u1ida", "auditor"))
    here.log_in(browser)
    answer = browser.http.get(f"{here.issuer}/api/log", headers={"origin": "https://evil.example"})
    assert answer.status_code == 401
    assert "access-control-allow-origin" not in answer.headers


# Reading


def test_an_auditor_reads_the_log_by_name_and_an_admin_may_not(here: Place, people: People) -> None:
    auditor, admin = people.with_role("auditor"), people.with_role("admin")
    found = [
        json.loads(line) for line in auditor.type("log", "--json", "--event", "login.completed").stdout.splitlines()
    ]
    assert found and {entry["ev"] for entry in found} == {"login.completed"}
    assert {entry["who"]["kind"] for entry in found} == {"person"}
    [reading] = entries_of(here, "log.read", "00u-auditor", event="login.completed")
    assert reading["who"]["iss"] == here.idp.url
    assert reading["who"]["login"].startswith("sid:") and reading["who"]["agent"] == CLI_ID
    assert "declared" not in reading["who"]
    assert reading["x"]["found"] == len(found)

    refused = admin.type("log", check=False)
    assert refused.returncode == 2 and "desk role auditor" in refused.stderr
    assert refused.stdout == ""
    refusals = entries_of(here, "api.refused", "00u-admin", role="auditor")
    assert {entry["res"]["name"] for entry in refusals} >= {"/api/log"}


def test_a_search_with_more_than_one_answer_holds_everything_once_and_in_order(here: Place, people: People) -> None:
    shell = people.with_role("auditor")
    shell.type("whoami")
    headers = {"authorization": f"Bearer {api_token(shell)}"}
    found: list[int] = []
    query = {"limit": "7"}
    while True:
        answer = here.http.get(f"{here.issuer}/api/log", params=query, headers=headers).json()
        found[:0] = [each["index"] for each in answer["entries"]]
        if not answer["more"]:
            break
        query = {"limit": "7", "before": str(answer["before"])}
    assert found == list(range(len(found))) and len(found) > 20
    by_command = shell.type("log", "--json", "--limit", "100000").stdout.splitlines()
    indices = [json.loads(line)["index"] for line in by_command]
    assert indices == list(range(len(indices)))


def test_a_call_is_explained_and_a_session_counted_for_an_auditor(here: Place, people: People) -> None:
    token = here.log_in(here.browser(person("00u1jack", groups=("support",))))["access_token"]
    assert here.call(token) == 200
    time.sleep(1)
    shell = people.with_role("auditor")
    [intent] = entries_of(here, "call.intent", "00u1jack")
    told = shell.type("why", intent["call"]).stdout
    assert "permitted by role:support/allow[0]" in told and "get_order" in told and "it is held by" in told
    assert shell.type("why", "ffffffff-0000", check=False).returncode == 1
    lines = [json.loads(line) for line in shell.type("sessions", "--json").stdout.splitlines()]
    assert [line["calls"] for line in lines if line["session"] == intent["sess"]] == [1]
    asked = entries_of(here, "log.read", "00u-auditor", call=intent["call"])
    assert [(entry["res"]["method"], entry["x"]["found"]) for entry in asked] == [("why", 2)]


def test_a_recording_is_opened_for_its_readers_alone_and_only_with_the_key(here: Place, people: People) -> None:
    token = here.log_in(here.browser(person("00u1kate", groups=("support",))))["access_token"]
    assert here.call(token) == 200
    time.sleep(1)
    [intent] = entries_of(here, "call.intent", "00u1kate")
    reader, auditor = people.with_role("recordings"), people.with_role("auditor")
    replayed = reader.type("replay", intent["sess"]).stdout
    assert '"order_id": "ord_5001"' in replayed
    readings = entries_of(here, "recording.read", "00u-recordings", 2)
    assert [each["who"]["iss"] for each in readings if each["res"]["name"] == intent["sess"]] == [here.idp.url]
    refused = auditor.type("replay", intent["sess"], check=False)
    assert refused.returncode == 2 and "ord_5001" not in refused.stdout + refused.stderr


def test_an_entry_is_proven_by_the_desk_and_checked_here(here: Place, people: People) -> None:
    shell, key = people.with_role("auditor"), str(here.gate.data_dir / "log.vkey")
    [third] = [
        entry
        for line in shell.type("log", "--json", "--limit", "100000").stdout.splitlines()
        if (entry := json.loads(line))["index"] == 3
    ]
    proven = json.loads(shell.type("prove", "3", "--key", key, "--leaf", third["leaf"], "--json").stdout)
    assert (proven["verdict"], proven["leaf"]) == ("proven", third["leaf"])
    other = shell.type("prove", "3", "--key", key, "--leaf", "00" * 32, check=False)
    assert other.returncode == 1 and "BROKEN" in other.stderr
    wrong_key = generate_key("localhost/test")[1]
    assert shell.type("prove", "3", "--key", wrong_key, check=False).returncode == 1
    assert shell.type("prove", "999999", "--key", key, check=False).returncode == 2
    refused = people.with_role("admin").type("prove", "3", "--key", key, check=False)
    assert refused.returncode == 2 and "desk role auditor" in refused.stderr


# Acting


def test_an_admin_ends_what_a_client_of_a_person_was_granted(here: Place, people: People) -> None:
    victim = here.browser(person("00u1lena", groups=("support",)))
    tokens, others = here.log_in(victim), here.log_in(here.browser(person("00u1mark", groups=("support",))))
    admin = people.with_role("admin")
    listed = [json.loads(line) for line in admin.type("grants", "--json").stdout.splitlines()]
    sid = claims_of(tokens["access_token"])["sid"]
    [mine] = [each for each in listed if each["subject"] == "00u1lena"]
    assert (mine["sid"], mine["server"], mine["client_id"]) == (sid, "payments", "test-program")
    assert here.call(tokens["access_token"]) == 200

    began = time.monotonic()
    with here.stream(tokens["access_token"], "payments") as open_stream:
        assert "1 grant ended" in admin.type("revoke", "--person", "00u1lena").stdout
        list(open_stream.iter_raw())  # raises ReadTimeout where it does not end by itself
    assert [here.call(tokens["access_token"]) for _ in range(8)] == [401] * 8
    assert time.monotonic() - began < 15
    assert here.call(others["access_token"]) == 200
    assert here.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    [ended] = entries_of(here, "grant.revoked", "00u-admin", person="00u1lena", why="by_admin")
    assert ended["res"]["name"] == sid
    [ordered] = entries_of(here, "revocation.ordered", "00u-admin", person="00u1lena")
    assert ordered["x"]["ended"] == 1
    assert entries_of(here, "grants.read", "00u-admin")
    assert len(entries_of(here, "login.completed", "00u1lena")) == 1
    here.log_in(victim)
    assert len(entries_of(here, "login.completed", "00u1lena", 2)) == 2, "the login at the desk has ended, too"


@pytest.mark.parametrize("by", ["sid", "client", "server"])
def test_grants_end_by_sid_by_client_and_by_server(here: Place, people: People, by: str) -> None:
    tokens = here.log_in(here.browser(person(f"00u2{by}", groups=("support",))), "orders")
    other = here.log_in(here.browser(person(f"00u3{by}", groups=("support",))), "payments")
    value = {"sid": claims_of(tokens["access_token"])["sid"], "client": "test-program", "server": "orders"}[by]
    people.with_role("admin").type("revoke", f"--{by}", value)
    assert here.call(tokens["access_token"], "orders") == 401
    assert here.call(other["access_token"]) == (401 if by == "client" else 200)


def test_an_admin_whose_own_grant_is_ended_acts_no_more(here: Place, people: People) -> None:
    shell = people.shell(person("00u1nora", "admin"))
    token = api_token(shell)
    people.with_role("admin").type("revoke", "--person", "00u1nora")
    answer = here.http.get(f"{here.issuer}/api/grants", headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    refused = shell.type("grants", check=False)
    assert refused.returncode == 1 and "gatebook login" in refused.stderr


@pytest.mark.parametrize(
    "body",
    [
        b"{}", b'{"idp":"corp"}', b'{"sid":""}', b'{"everything":true}', b"[]", b"x", b'{"person":"a","idp":"nowhere"}',
    ],
)  # fmt: skip
def test_a_revocation_that_does_not_say_whose_ends_nothing(here: Place, people: People, body: bytes) -> None:
    shell = people.with_role("admin")
    shell.type("whoami")
    headers = {"authorization": f"Bearer {api_token(shell)}", "content-type": "application/json"}
    answer = here.http.post(f"{here.issuer}/api/grants/revoke", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_a_desk_that_is_not_there_or_speaks_in_clear_is_told(tmp_path: Path, here: Place) -> None:
    shell = Shell(here, tmp_path, here.browser(Person(sub="00u1otto")))
    gone = shell.type("login", "--desk", "http://127.0.0.1:9", "--no-browser", check=False)
    assert gone.returncode == 1 and "cannot be reached" in gone.stderr
    clear = shell.type("login", "--desk", "http://desk.example.com", "--no-browser", check=False)
    assert clear.returncode == 1 and "not https" in clear.stderr
    other = shell.type("login", "--desk", here.gate.base, "--no-browser", check=False)
    assert other.returncode == 1 and "is no desk" in other.stderr


def test_over_https_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    with place(tmp_path / "secure", DESK_ROLES, secure=True) as here:
        shell = Shell(here, tmp_path / "home", here.browser(person("00u1pia", "auditor", groups=("support",))))
        shell.log_in()
        assert json.loads(shell.type("whoami", "--json").stdout)["roles"] == ["auditor"]
        assert here.call(shell.type_and_log_in("token", "payments").strip()) == 200
        here.trusts = None
        stranger = shell.type("whoami", check=False)
        assert stranger.returncode == 1 and "cannot be reached" in stranger.stderr
