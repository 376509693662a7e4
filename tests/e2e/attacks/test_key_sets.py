"""Issuers that fail, lie or are overrun, behind a running gate that fetches their keys: cases 18 to 24, and 76 by the gate's own clock.

Each issuer may be asked only every 30 s, so all of them turn bad at once. Half were good at first: what the gate knows of those must stay
in force. The other half were bad from the start: nobody of theirs gets in.
"""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.e2e.attacks import table
from tests.e2e.attacks.ground import Attempt, Ground
from tests.e2e.attacks.recording import RecordingServer
from tests.e2e.gate import free_port, running, token
from tests.e2e.life.deployed import until
from tests.faults.key_server import DISCOVERY, Answer, KeyServer, drip, flood, hang, key_server, response
from tests.issuing import Issuer, base64url, private_key, public_jwk

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REFETCH_S = 50.0
"""A fetch starts at most every 30 s and may take ten."""
DAY_S = 86_400
BOTH_WORKERS = 8
"""Connections of their own, as many as reach both workers."""


class Bad(msgspec.Struct, frozen=True):
    """What an issuer answers: at its well-known address, and at its key set's; HERE is its own URL, ELSEWHERE a server that records."""

    case: int
    keys: Answer | None = None
    discovery: Answer | None = None


def jwks(*keys: dict[str, Any]) -> bytes:
    return response(json.dumps({"keys": list(keys)}).encode())


def discovery(**members: str) -> bytes:
    return json.dumps({"issuer": "HERE", "jwks_uri": "HERE/jwks", **members}).encode()


ES = public_jwk(private_key("ES256", "bad"), "bad-0")
RSA = public_jwk(private_key("RS256", "bad"), "bad-0")
BAD: dict[str, Bad] = {
    "answers 500": Bad(19, keys=response(b"", "500 Internal Server Error")),
    "hangs": Bad(19, keys=hang),
    "hangs at its well-known address": Bad(19, discovery=hang),
    "drips a byte now and then": Bad(19, keys=drip),
    "closes without a word": Bad(19, keys=b""),
    "has no keys any more": Bad(20, keys=jwks()),
    "has no list of keys": Bad(20, keys=response(b'{"keys":null}')),
    "sends ten megabytes": Bad(22, keys=flood),
    "sends 2,000 keys": Bad(22, keys=jwks(*({"kty": "EC", "kid": str(n)} for n in range(2000)))),
    "has a key of 65,536 bits": Bad(22, keys=jwks({**RSA, "n": base64url(b"\xff" * 8192)})),
    "has a key with exponent 1": Bad(22, keys=jwks({**RSA, "e": "AQ"})),
    "publishes a private key": Bad(22, keys=jwks(ES, {**ES, "kid": "bad-1", "d": "AQAB"})),
    "publishes keys for encryption": Bad(22, keys=jwks({**ES, "use": "enc"})),
    "redirects to an internal address": Bad(23, keys=response(b"", "302 Found", "Location: ELSEWHERE")),
    "redirects its well-known address": Bad(23, discovery=response(b"", "307 Temporary Redirect", "Location: ELSEWHERE")),
    "says that it is another": Bad(23, discovery=discovery(issuer="http://127.0.0.1:1/other")),
    "says that it is itself with a slash": Bad(23, discovery=discovery(issuer="HERE/")),
    "has its keys at an internal host": Bad(23, discovery=discovery(jwks_uri="ELSEWHERE")),
    "has its keys at a host without TLS": Bad(23, discovery=discovery(jwks_uri="http://idp.internal/jwks")),
    "has its keys at a URL with a user": Bad(23, discovery=discovery(jwks_uri="http://HERE@127.0.0.1/jwks")),
    "has its keys in a file": Bad(23, discovery=discovery(jwks_uri="file:///etc/passwd")),
}  # fmt: skip
ROTATING = ("with overlap", "without overlap", "poisoned", "flooded", "steady")

CONFIG = """profile = "dev"
public_url = "http://127.0.0.1:{port}"
listen = ["127.0.0.1:{port}"]
workers = 2
data_dir = "data"
[log]
origin = "localhost/test"
segment_bytes = 8388608
[[server]]
name = "payments"
url = "{payments}"
credential = {{ header = "Authorization", value = "Bearer {{secret}}", secret = "env:PAYMENTS_SECRET" }}
"""
ISSUER = """[[issuer]]
name = "{name}"
url = "{url}"
kind = "person"
[[role]]
name = "{name}-people"
match = [ {{ issuer = "{name}", group = "support" }} ]
allow = [ {{ server = "payments", tools = ["get_order"] }} ]
"""


@contextmanager
def key_servers() -> Iterator[KeyServer]:
    """A key server on a loop of its own; each issuer has a path of its own there."""
    started, over = threading.Event(), asyncio.Event()
    found: list[tuple[KeyServer, asyncio.AbstractEventLoop]] = []

    async def run() -> None:
        async with key_server() as server:
            found.append((server, asyncio.get_running_loop()))
            started.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert started.wait(10)
    try:
        yield found[0][0]
    finally:
        found[0][1].call_soon_threadsafe(over.set)
        thread.join()


class Keys(Ground):
    """A gate with many issuers, each of which is good or bad as the test says."""

    server: KeyServer
    clock: Path

    def issuer(self, name: str) -> Issuer:
        return self.issuers[name]

    def publish(self, name: str, *keys: dict[str, Any]) -> None:
        """From now on the issuer `name` is good."""
        issuer = self.issuer(name)
        self.server.answers[f"/{name}{DISCOVERY}"] = response(self._here(discovery(), issuer))
        self.server.answers[f"/{name}/jwks"] = jwks(*(keys or issuer.jwks()["keys"]))

    def spoil(self, name: str, bad: Bad) -> None:
        """From now on it is bad."""
        self.publish(name)
        for path, answer in ((DISCOVERY, bad.discovery), ("/jwks", bad.keys)):
            if isinstance(answer, bytes):
                placed = self._here(answer, self.issuer(name))
                self.server.answers[f"/{name}{path}"] = placed if placed[:4] in (b"HTTP", b"") else response(placed)
            elif answer is not None:
                self.server.answers[f"/{name}{path}"] = answer

    def _here(self, answer: bytes, issuer: Issuer) -> bytes:
        return answer.replace(b"HERE", issuer.url.encode()).replace(b"ELSEWHERE", self.payments.url.encode())

    def shown(self, name: str, signer: Issuer | None = None, *, kid: str | None = None, **claims: Any) -> str:
        """A token of the issuer `name`, signed by `signer` where that is somebody else."""
        by, audience = signer or self.issuer(name), f"{self.gate.base}/payments/mcp"
        header = {"kid": kid} if kid else None
        return self.noted(
            token(by, audience, groups=("support",), header=header, **{"iss": self.issuer(name).url, **claims})
        )

    def shows(self, shown: str) -> list[Attempt]:
        return [self.attempt(lambda address: self.ask(bearer=shown, address=address)) for _ in range(BOTH_WORKERS)]

    def outcomes(self, attempts: list[Attempt]) -> set[tuple[int, str | None]]:
        return {(a.answer.status, None if a.answer.status == 200 else a.answer.reason) for a in attempts}

    def asked(self, name: str) -> int:
        """How often the gate has begun to fetch this issuer's keys."""
        return self.server.asked.count(f"/{name}{DISCOVERY}")

    def saw(self, case: int, variant: str, attempt: Attempt) -> None:
        """An accepted or refused attempt and its last entry go into the table."""
        accepted = attempt.answer.status == 200
        [*_, entry] = self.entries(lambda entries: len(entries) == (2 if accepted else 1), attempt.address)
        table.saw(
            case,
            variant,
            "HTTP 200: the keys known so far serve" if accepted else attempt.answer.in_words,
            table.in_words(entry),
        )


def slug(name: str, when: str) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in f"{when}-{name}").lower()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    """The gate, with all issuers as they are at its start."""
    directory, port = tmp_path_factory.mktemp("keys"), free_port()
    clock = directory / "ahead"
    clock.write_text("0")
    names = [
        *(slug(name, when) for name in BAD for when in ("first", "later")),
        *(slug(name, "then") for name in ROTATING),
    ]
    with RecordingServer() as payments, key_servers() as server:
        issuers = {name: Issuer(f"{server.url}/{name}", name=name) for name in names}
        config = CONFIG.format(port=port, payments=payments.url)
        config += "".join(ISSUER.format(name=name, url=issuer.url) for name, issuer in issuers.items())
        place = Keys.__new__(Keys)
        place.server, place.clock, place.issuers, place.payments = server, clock, issuers, payments
        for name in names:
            place.publish(name)
        for name, bad in BAD.items():
            place.spoil(slug(name, "first"), bad)
        place.publish("then-poisoned", public_jwk(ATTACKER.key, ATTACKER.kids[0]))
        environment = {
            "PAYMENTS_SECRET": "x",
            "CLOCK_AHEAD": str(clock),
            "PYTHONPATH": str(Path(__file__).parent / "shifted_clock"),
        }
        with running(directory / "gate", config, port, env=environment) as gate:
            Ground.__init__(place, gate, issuers, payments)
            yield place
            gate.stop()
        log = (gate.directory / "gate.log").read_text()
        assert '"bug"' not in log and "Traceback" not in log, log[-4000:]


ATTACKER = Issuer("http://127.0.0.1:1/attacker", name="attacker")


@pytest.fixture(scope="module")
def turned(keys: Keys) -> Keys:
    """Every issuer has turned, and the gate has asked each of them once more since."""
    good = {name: keys.shown(slug(name, "later")) for name in BAD}
    for shown in good.values():
        assert keys.outcomes(keys.shows(shown)[:1]) == {(200, None)}
    assert keys.outcomes(keys.shows(keys.shown("then-poisoned", ATTACKER))) == {(200, None)}, (
        "see LIMIT in identity/keysets.py"
    )
    for name, bad in BAD.items():
        keys.spoil(slug(name, "later"), bad)
    for name in ("then-with-overlap", "then-without-overlap"):
        OLD[name] = keys.shown(name)
        keys.issuer(name).rotate(keep_old=name == "then-with-overlap")
        keys.publish(name)
    keys.publish("then-poisoned")
    before = {name: keys.asked(name) for name in keys.issuers}
    for name in keys.issuers:  # a token with an unknown key brings the next fetch forward
        keys.ask(bearer=keys.shown(name, kid="unknown"))
    turned_names = [slug(name, "later") for name in BAD] + [f"then-{name.replace(' ', '-')}" for name in ROTATING[:3]]
    until(lambda: all(keys.asked(name) > before[name] for name in turned_names), "asked again", REFETCH_S)
    until(
        lambda: keys.outcomes(keys.shows(keys.shown("then-without-overlap"))) == {(200, None)},
        "the new key in both workers",
        REFETCH_S,
    )
    return keys


OLD: dict[str, str] = {}


class Tried(msgspec.Struct, frozen=True):
    """What became of tokens of one bad issuer: forged where it was bad from the start, honest and forged where it was good at first."""

    first: list[Attempt]
    later: list[Attempt]
    forged: list[Attempt]


@pytest.fixture(scope="module")
def tried(turned: Keys) -> dict[str, Tried]:
    """All attempts at once: the book is sealed once a second."""
    return {
        name: Tried(
            turned.shows(turned.shown(slug(name, "first"), ATTACKER)),
            turned.shows(turned.shown(slug(name, "later"))),
            turned.shows(turned.shown(slug(name, "later"), ATTACKER)),
        )
        for name in BAD
    }


@pytest.mark.parametrize("name", BAD)
def test_an_issuer_that_is_bad_from_the_start_lets_nobody_in(turned: Keys, tried: dict[str, Tried], name: str) -> None:
    attempts = tried[name].first
    assert turned.outcomes(attempts) == {(503, "keys_unavailable")}
    assert {attempt.arrived for attempt in attempts} == {b""}
    turned.saw(BAD[name].case, f"an issuer that {name}, from the start", attempts[0])


@pytest.mark.parametrize("name", BAD)
def test_an_issuer_that_turns_bad_takes_no_good_key_away_and_brings_no_other(
    turned: Keys, tried: dict[str, Tried], name: str
) -> None:
    assert turned.outcomes(tried[name].later) == {(200, None)}
    turned.saw(BAD[name].case, f"an issuer that {name}, after it was good", tried[name].later[0])
    assert turned.outcomes(tried[name].forged) == {(401, "token_key_unknown")}
    turned.saw(BAD[name].case, f"a forged token of an issuer that {name}", tried[name].forged[0])


def test_no_bad_issuer_made_the_gate_ask_elsewhere(turned: Keys) -> None:
    """Nothing but calls reached the server that redirects and key-set addresses pointed to."""
    assert b"GET " not in bytes(turned.payments.received)
    assert all(path.startswith(tuple(f"/{name}/" for name in turned.issuers)) for path in turned.server.asked)


def test_a_rotation_is_followed_with_and_without_overlap(turned: Keys) -> None:
    for name, old in OLD.items():
        fresh = turned.shows(turned.shown(name))
        assert turned.outcomes(fresh) == {(200, None)}
        turned.saw(18, f"the new key, {name[5:]}", fresh[0])
        expected = (200, None) if name == "then-with-overlap" else (401, "token_key_unknown")
        attempts = turned.shows(old)
        assert turned.outcomes(attempts) == {expected}
        turned.saw(18, f"the old key, {name[5:]}", attempts[0])


def test_a_poisoned_key_set_is_gone_with_the_next_good_one(turned: Keys) -> None:
    forged = turned.shows(turned.shown("then-poisoned", ATTACKER))
    assert turned.outcomes(forged) == {(401, "token_key_unknown")}
    turned.saw(24, "the attacker's key, after the issuer answered for itself", forged[0])
    honest = turned.shows(turned.shown("then-poisoned"))
    assert turned.outcomes(honest) == {(200, None)}
    turned.saw(24, "the issuer's own key", honest[0])


def test_a_flood_of_unknown_keys_is_one_fetch_and_evicts_none(turned: Keys) -> None:
    name, address = "then-flooded", turned.address()
    before, started = turned.asked(name), time.monotonic()
    for number in range(150):
        answer = turned.ask(bearer=turned.shown(name, ATTACKER, kid=f"random-{number}"), address=address)
        assert (answer.status, answer.reason) == (401, "token_key_unknown")
        table.saw(
            21,
            "150 tokens with unknown keys",
            f"{answer.in_words}, each; fetches: one in 30 s",
            "`auth.failed` `token_key_unknown`, counted",
        )
    assert turned.asked(name) - before <= 1 + (time.monotonic() - started) // 30
    good = turned.shows(turned.shown(name))
    assert turned.outcomes(good) == {(200, None)}
    turned.saw(21, "a good token meanwhile", good[0])
    entries = turned.entries(bool, address)
    assert {entry.ev for entry in entries} == {"auth.failed"} and len(entries) <= 4


@contextmanager
def ahead(keys: Keys, seconds: int) -> Iterator[None]:
    """The gate's clock is ahead of ours by so much."""
    keys.clock.write_text(str(seconds))
    try:
        yield
    finally:
        keys.clock.write_text("0")


@pytest.mark.parametrize(("minutes", "reason"), [(5, "token_expired"), (-5, "token_not_yet_valid")])
def test_a_gate_whose_clock_is_five_minutes_off_refuses_both_ways(turned: Keys, minutes: int, reason: str) -> None:
    now = int(time.time())
    shown = turned.shown("then-steady", iat=now, nbf=now, exp=now + 200)
    with ahead(turned, minutes * 60):
        attempt = turned.attempt(lambda address: turned.ask(bearer=shown, address=address))
    assert (attempt.answer.status, attempt.answer.reason) == (401, reason)
    turned.saw(
        76,
        f"the gate's own clock {abs(minutes)} minutes {'ahead' if minutes > 0 else 'behind'}, an honest token",
        attempt,
    )


def test_after_a_day_of_outage_the_keys_known_so_far_serve_no_more(turned: Keys) -> None:
    """Last: every issuer is gone by then."""
    turned.server.answers.clear()
    later = int(time.time()) + DAY_S
    shown = turned.shown("then-steady", iat=later, nbf=None, exp=later + 3600)
    almost = turned.shown("then-steady", iat=later - 3600, nbf=None, exp=later + 3600)
    with ahead(turned, DAY_S - 1800):
        good = turned.shows(almost)
        assert turned.outcomes(good) == {(200, None)}
        turned.saw(19, "no issuer for 23.5 hours", good[0])
    with ahead(turned, DAY_S + 60):
        refused = turned.shows(shown)
        assert turned.outcomes(refused) == {(503, "keys_unavailable")}
    turned.saw(19, "no issuer for a day", refused[0])
