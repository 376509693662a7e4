"""The tour: what Gatebook promises, played once on the demonstration by a real MCP client, each step checked.

Whatever an operator would type is run as that very command. Read `play` from top to bottom: it is the script.
"""

import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import anyio
import httpx2
import msgspec
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Implementation

from gatebook import __version__
from gatebook.adapters.log_files import LogFiles
from gatebook.demo.children import gatebook_command, spoken_command
from gatebook.demo.customers import customers
from gatebook.demo.place import DemoError, Place, short
from gatebook.demo.session import Session
from gatebook.demo.telling import Teller, innermost, shortened
from gatebook.ledger.merkle import TILE_WIDTH
from gatebook.ledger.reading import head
from gatebook.ledger.tiles import tile_name

LATEST: Final = "2026-07-28"
CUSTOMER: Final = customers()[0]
MASKED: Final = re.compile(r"\d{6}[*]{5,}\d{4}")
SEALED_WITHIN_S: Final = 15.0
COMMAND_TIMEOUT_S: Final = 60.0
COPY_TRIES: Final = 5


class Answer(msgspec.Struct, frozen=True):
    """What a client got for a call. `said`: the whole answer as JSON text, in which nothing may hide."""

    kind: Literal["result", "tool_error", "refused"]
    structured: Any
    said: str
    code: int | None = None
    data: Any = None


class Output(msgspec.Struct, frozen=True):
    """A command that has run to its end."""

    status: int
    text: str


async def play(place: Place, teller: Teller) -> Path:
    """The whole story; returns the replay page's path. Raises StepFailed at the first thing that does not hold."""
    job = _token(f"{place.ci_url}/token", job="fraud-model", audience=place.mcp_url)

    async with AsyncExitStack() as connections:
        alice = await _logs_in(place, teller)
        client = await _connects(place, teller, alice, connections)
        await _allowed(client, teller)
        await _masked(client, teller)
        await _denied(client, teller)
        await _card_number_in_arguments(client, teller)
    await _unauthenticated(place, teller)
    await _around_the_gate(place, teller, alice.access_token)
    await _ci_job(place, teller, job)

    await _who_ran_it(place, teller)
    session = await _replayed(place, teller)
    _why(place, teller, session)
    _verified(place, teller)
    _tampered(place, teller)
    return _page(place, teller, session)


async def _logs_in(place: Place, teller: Teller) -> Session:
    """Alice's agent has tokens that she never saw."""
    with teller.step(
        "Alice logs in",
        "Her agent knows the payments server's URL and nothing else. It is refused, finds the desk, and opens a browser; she logs in, and says yes.",
    ):
        teller.sends(place.mcp_url)
        session = Session(place)
        async with session.connected():
            pass
        teller.gets(f"her browser showed: {' · '.join(session.browser.shown)}")
        teller.check(
            session.client_id.startswith("dyn-"), "the agent made itself known; nobody configured it", session.client_id
        )
        teller.check(
            len(session.browser.shown) == 2,
            "she logged in at her own provider, and was asked once",
            session.browser.shown,
        )
        claims = session.claims()
        teller.check(claims["aud"] == place.mcp_url, "its token is for this one server", claims)
        teller.check(claims["exp"] - claims["iat"] <= 300, "and lives for five minutes", claims)
        teller.check(
            claims["idp"] == {"iss": place.people_url, "sub": "alice"}, "it names her as her provider does", claims
        )
        teller.check(claims["mfa"] == "proven", "and what she proved: multi-factor", claims)
        return session


async def _connects(place: Place, teller: Teller, session: Session, connections: AsyncExitStack) -> Client:
    """The client stays connected until `connections` is closed."""
    with teller.step(
        "An agent connects",
        "Alice works in support. Her agent connects again, with what it kept: no browser this time.",
    ):
        teller.sends(place.mcp_url)
        pages = len(session.browser.shown)
        client = await connections.enter_async_context(session.connected())
        teller.check(len(session.browser.shown) == pages, "nobody had to do anything")
        teller.gets(f"{client.server_info.name if client.server_info else '?'}, MCP {client.protocol_version}")
        teller.check(
            client.protocol_version == LATEST, f"they speak the latest revision, {LATEST}", client.protocol_version
        )
        return client


async def _allowed(client: Client, teller: Teller) -> None:
    with teller.step("An allowed call", "Her role allows get_order, so her agent gets an order."):
        answer = await _call(client, teller, "get_order", {"order_id": "ord_5001"})
        order = answer.structured or {}
        teller.check(answer.kind == "result", "the call went through", answer.said)
        teller.check(order.get("order_id") == "ord_5001", "the answer is the server's own, unchanged", answer.said)


async def _masked(client: Client, teller: Teller) -> None:
    story = f"She asks for a customer. The server answers with the card number in clear ({CUSTOMER.card_number[:4]}…); her agent must not see it."
    with teller.step("A masked answer", story):
        answer = await _call(client, teller, "get_customer", {"customer_id": CUSTOMER.customer_id})
        shown = str((answer.structured or {}).get("card", {}).get("number"))
        teller.check(answer.kind == "result", "the call went through", answer.said)
        teller.check(
            _is_mask_of(CUSTOMER.card_number, shown), f"the card number came back as first 6 + last 4: {shown}", shown
        )
        teller.check(
            CUSTOMER.card_number not in answer.said, "the number in clear is nowhere in the answer, text included"
        )
        teller.check(CUSTOMER.name in answer.said, "what is no card data is still there")


async def _denied(client: Client, teller: Teller) -> None:
    with teller.step("A denied call", "Nobody granted delete_customer to anybody. Her agent tries."):
        offered = [tool.name for tool in (await client.list_tools()).tools]
        teller.gets(f"tools/list offers {', '.join(sorted(offered))}")
        teller.check("delete_customer" not in offered, "the list does not even show the tool", offered)
        answer = await _call(client, teller, "delete_customer", {"customer_id": CUSTOMER.customer_id})
        missing = await _call(client, teller, "no_such_tool", {})
        teller.check(answer.kind == "refused" and _reason(answer) == "denied", "the call was refused", answer.said)
        teller.check(
            (answer.code, _without_call(answer)) == (missing.code, _without_call(missing)),
            "the refusal is word for word the one for a tool that does not exist",
            missing.said,
        )
        again = await _call(client, teller, "get_customer", {"customer_id": CUSTOMER.customer_id})
        teller.check(again.kind == "result", "the customer still exists", again.said)


async def _card_number_in_arguments(client: Client, teller: Teller) -> None:
    with teller.step(
        "A card number in the arguments",
        "A card number slips into an argument. It must neither reach the server nor the book.",
    ):
        answer = await _call(
            client, teller, "get_order", {"order_id": CUSTOMER.card_number}, shown={"order_id": "<a card number>"}
        )
        teller.check(_reason(answer) == "card_number_in_arguments", "the call was refused", answer.said)
        teller.check("/arguments/order_id" in answer.said, "the refusal names the place (a JSON pointer)", answer.said)
        teller.check(CUSTOMER.card_number not in answer.said, "and does not repeat the number", answer.said)


async def _unauthenticated(place: Place, teller: Teller) -> None:
    with teller.step("Nobody we know", "The same request without a token."):
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        accept = {"Accept": "application/json, text/event-stream"}
        async with httpx2.AsyncClient(trust_env=False) as http:
            response = await http.post(place.mcp_url, json=message, headers=accept)
            challenge = response.headers.get("www-authenticate", "")
            teller.gets(f"HTTP {response.status_code}, WWW-Authenticate: {challenge}")
            teller.check(response.status_code == 401, "HTTP 401", response.status_code)
            found = re.search(r'resource_metadata="([^"]+)"', challenge)
            teller.check(found is not None, "the challenge says where to learn more (RFC 9728)", challenge)
            metadata = (await http.get(found[1])).json() if found else {}
        teller.check(metadata.get("resource") == place.mcp_url, "the metadata names exactly this server", metadata)
        teller.check(metadata.get("authorization_servers") == [place.desk_url], "and where to log in for it", metadata)


async def _around_the_gate(place: Place, teller: Teller, token: str) -> None:
    story = "Alice's token at the payments server itself, around the gate. It answers to its API key only, which Gatebook injects and she never sees."
    with teller.step("Around the gate", story):
        async with httpx2.AsyncClient(trust_env=False) as http:
            response = await http.post(place.payments_url, json={}, headers={"Authorization": f"Bearer {token}"})
        teller.gets(f"HTTP {response.status_code}")
        teller.check(response.status_code == 401, "the server does not know her", response.status_code)


async def _ci_job(place: Place, teller: Teller, token: str) -> None:
    story = "A nightly CI job runs a fraud model. The model explains itself with somebody's card number, as text and as a JSON number."
    with teller.step("A CI job", story):
        async with _connected(place, token) as client:
            answer = await _call(client, teller, "run_model_inference", {"order_id": "ord_5001"})
        neighbour = (answer.structured or {}).get("nearest", {})
        number = neighbour.get("card_number")
        clear = next((each.card_number for each in customers() if each.customer_id == neighbour.get("customer_id")), "")
        grouped = " ".join(clear[start : start + 4] for start in range(0, len(clear), 4))
        teller.check(answer.kind == "result", "its role allows exactly this tool", answer.said)
        teller.check(
            bool(clear) and clear not in answer.said and grouped not in answer.said, "no number in clear came back"
        )
        teller.check(
            type(number) is int and str(number)[:6] == clear[:6], f"the JSON number is still a number: {number}", number
        )


async def _who_ran_it(place: Place, teller: Teller) -> None:
    with teller.step("Who ran the inference that returned a PAN?", "An auditor asks. One command answers."):
        asked = ["log", "--tool", "run_model_inference", "--finding", "pan"]
        output = await _until_sealed(place, asked, "fraud-model")
        teller.types(_typed(asked, place))
        teller.shows(output.text, lines=16)
        machine = json.loads(_gatebook(place, [*asked, "--json"]).text.splitlines()[0])
        who = machine["who"]
        teller.check(who["kind"] == "job", "a CI job, not a person", who)
        teller.check("example-bank/fraud-model" in who["sub"], f"this one: {who['sub']}", who)
        teller.check(who.get("acting_for") == "58412", "on behalf of the person whose id is 58412", who)


async def _replayed(place: Place, teller: Teller) -> str:
    with teller.step(
        "The session again",
        "What did Alice's agent do? Every body was recorded, masked, and sealed to a public key: the gate itself cannot open it again.",
    ):
        listing = await _until_sealed(place, ["sessions", "--json"], '"alice"')
        sessions = [json.loads(line) for line in listing.text.splitlines()]
        session = next((each["session"] for each in sessions if each["who"]["sub"] == "alice"), "")
        output = _gatebook(place, ["replay", session])
        teller.types(_typed(["replay", session], place))
        teller.shows(output.text, lines=36, start="tools/call get_customer")
        teller.check(output.status == 0, "the session replays", output.text)
        for tool in ("get_order", "get_customer", "delete_customer"):
            teller.check(tool in output.text, f"{tool} is in it")
        teller.check(MASKED.search(output.text) is not None, "card numbers are masked in the recording, too")
        teller.check(CUSTOMER.card_number not in output.text, "none is there in clear")
        return str(session)


def _why(place: Place, teller: Teller, session: str) -> None:
    with teller.step("Why was it refused?", "The caller learned nothing. The operator learns everything."):
        found = _gatebook(place, ["log", "--session", session, "--tool", "delete_customer", "--json"])
        call = json.loads(found.text.splitlines()[0])["call"]
        output = _gatebook(place, ["why", call])
        teller.types(_typed(["why", call], place))
        teller.shows(output.text, lines=24)
        teller.check(
            output.status == 0 and "default" in output.text, "no rule allowed it, and the answer says so", output.text
        )


def _verified(place: Place, teller: Teller) -> None:
    with teller.step("Is the log intact?", "Anyone can check it, offline, with the public key alone."):
        arguments = ["verify", short(place.log), "--key", short(place.log_verifier)]
        output = _gatebook(None, arguments)
        teller.types(_typed(arguments))
        teller.shows(output.text, lines=10)
        teller.check(output.status == 0, "the log verifies", output.text)


def _tampered(place: Place, teller: Teller) -> None:
    with teller.step(
        "And after a change?",
        "The log is copied with its recordings, and one letter of one recorded decision is changed in the copy.",
    ):
        copy = place.directory / "tampered"
        arguments = ["verify", short(copy), "--key", short(place.log_verifier)]
        teller.check(_copied(place.log.parent, copy, arguments), "the untouched copy verifies")
        changed, offset = change_one_byte(copy / place.log.name)
        teller.sends(f"byte {offset} of {changed.relative_to(copy)} in the copy")
        output = _gatebook(None, arguments)
        teller.types(_typed(arguments))
        teller.shows(output.text, lines=10)
        teller.check(output.status == 1, "the copy does not verify", f"exit status {output.status}: {output.text}")
        named = re.search(r"entry \d+|tile/", output.text)
        teller.check(named is not None, "the verifier names the place of the change", output.text)


def _page(place: Place, teller: Teller, session: str) -> Path:
    with teller.step("Something to look at", "The same session as one HTML file that needs nothing else."):
        target = place.directory / "replay.html"
        output = _gatebook(place, ["replay", session, "--html", str(target)])
        teller.types(_typed(["replay", session, "--html", short(target)], place))
        teller.check(output.status == 0 and target.exists(), "the page was written", output.text)
        text = target.read_text("utf-8")
        teller.check(
            MASKED.search(text) is not None and CUSTOMER.card_number not in text,
            "it shows masks, and no number in clear",
        )
        teller.check("http-equiv" in text and "<script" not in text, "it runs nothing and fetches nothing")
        return target


@asynccontextmanager
async def _connected(place: Place, token: str) -> AsyncIterator[Client]:
    """An MCP client with this bearer token. What is raised inside leaves as it is: task groups would wrap it."""
    headers = {"Authorization": f"Bearer {token}"}
    info = Implementation(name="gatebook-tour", version=__version__)
    try:
        async with (
            httpx2.AsyncClient(headers=headers, timeout=20.0, trust_env=False) as http,
            Client(streamable_http_client(place.mcp_url, http_client=http), client_info=info) as client,
        ):
            yield client
    except BaseExceptionGroup as group:
        raise innermost(group) from group


async def _call(
    client: Client, teller: Teller, tool: str, arguments: dict[str, Any], *, shown: dict[str, Any] | None = None
) -> Answer:
    """One tools/call, told as it happens."""
    teller.sends(f"{tool} {shortened(arguments if shown is None else shown)}")
    try:
        result = await client.call_tool(tool, arguments)
        said = result.model_dump_json(by_alias=True, exclude_none=True)
        answer = Answer("tool_error" if result.is_error else "result", result.structured_content, said)
    except MCPError as refused:
        said = json.dumps({"code": refused.code, "message": refused.message, "data": refused.data}, ensure_ascii=False)
        answer = Answer("refused", None, said, refused.code, refused.data)
    teller.gets(shortened(answer.structured) if answer.structured is not None else answer.said[:400])
    return answer


def _reason(answer: Answer) -> str:
    return str(answer.data.get("reason")) if isinstance(answer.data, dict) else "no reason"


def _without_call(answer: Answer) -> object:
    """A refusal's words and data without the call's id, which differs each time."""
    told = json.loads(answer.said)
    if isinstance(told.get("data"), dict):
        told["data"].pop("call", None)
    return told


def _is_mask_of(number: str, shown: str) -> bool:
    return shown[:6] == number[:6] and shown[-4:] == number[-4:] and not any(map(str.isdigit, shown[6:-4]))


def _token(url: str, **asked: str) -> str:
    response = httpx2.get(url, params=asked, timeout=10.0, trust_env=False)
    if response.status_code != httpx2.codes.OK:
        raise DemoError(f"no token from {url}: {response.text}")
    return str(response.json()["access_token"])


async def _until_sealed(place: Place, arguments: list[str], expected: str) -> Output:
    """The command's output once it holds `expected`: entries are sealed about a second after they were written."""
    deadline = time.monotonic() + SEALED_WITHIN_S
    while True:
        output = _gatebook(place, arguments)
        if expected in output.text or time.monotonic() > deadline:
            return output
        await anyio.sleep(0.5)


def _typed(arguments: list[str], place: Place | None = None) -> str:
    """The command line as the reader would type it."""
    located = ["--config", short(place.configuration)] if place is not None else []
    return f"{spoken_command()} {shlex.join([*arguments, *located])}"


def _gatebook(place: Place | None, arguments: list[str]) -> Output:
    """Run this Gatebook's command; where `place` is given, on its configuration."""
    located = ["--config", str(place.configuration)] if place is not None else []
    done = subprocess.run(
        [*gatebook_command(), *arguments, *located],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    return Output(done.returncode, done.stdout if done.returncode == 0 else f"{done.stdout}{done.stderr}")


def _copied(book: Path, copy: Path, verify: list[str]) -> bool:
    """Whether `copy` holds a whole copy of the log and its recordings. The sealer goes on writing meanwhile, so it may take more than one try."""
    for _ in range(COPY_TRIES):
        shutil.rmtree(copy, ignore_errors=True)
        try:
            for name in ("log", "payloads"):
                shutil.copytree(book / name, copy / name, ignore=shutil.ignore_patterns("*.tmp"))
        except (shutil.Error, FileNotFoundError):
            continue
        if _gatebook(None, verify).status == 0:
            return True
    return False


def change_one_byte(log: Path) -> tuple[Path, int]:
    """Change the first letter of a recorded `denied` in a log, whose files stay as long as they were: (the file, the byte's place).

    Only what the log's checkpoint covers is looked at. A copy made while a sealer wrote may hold more, which nobody signed: there a change shows nothing.
    """
    size = head(LogFiles(log)).size
    for first in range(0, size, TILE_WIDTH):
        bundle = log / tile_name(None, first // TILE_WIDTH, min(TILE_WIDTH, size - first))
        content = bytearray(bundle.read_bytes())
        if (offset := content.find(b'"denied"')) >= 0:
            content[offset + 1] ^= 0x01
            bundle.write_bytes(content)
            return bundle, offset + 1
    raise DemoError(f"no entry of a denied call in the log under {log}")
