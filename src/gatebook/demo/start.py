"""`gatebook demo`: everything is started, explained, watched, and stopped again."""

import importlib.util
import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

import httpx2
import msgspec
from rich.console import Console
from rich.text import Text

from gatebook.demo import clients
from gatebook.demo.children import Children, spoken_command
from gatebook.demo.place import DemoError, Place, furnish, occupied, settle, short
from gatebook.model import extras

PERSON: Final = "alice"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`port` None: 8080 where it is free, else any. `keep`: go on with the book of an earlier demonstration in `directory`."""

    directory: Path
    port: int | None = None
    tour: bool = False
    as_json: bool = False
    keep: bool = False


class Introduction(msgspec.Struct, frozen=True, kw_only=True):
    """All that is printed when the demonstration is up, as data. Every command line works when pasted."""

    directory: str
    configuration: str
    mcp_url: str
    people: str
    ci: str
    person: str
    token: str
    token_url: str
    job_token_url: str
    try_it: str
    desk: str
    me: str
    header: clients.Instruction
    clients: tuple[clients.Instruction, ...]
    look: tuple[str, ...]


def run(options: Options) -> int:
    """The demonstration from start to end; returns the exit code: 0 stopped as told or the tour held, 1 anything else."""
    # SIGINT too: a shell that starts a job in the background has it ignored, and Python then leaves it so.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    console = Console(highlight=False, stderr=options.as_json)
    try:
        _require_sdk()
        with occupied(options.directory, keep=options.keep) as directory:
            place = settle(directory, options.port)
            furnish(place)
            console.print(Text(f"Starting the demonstration in {short(directory)} …", style="dim"))
            began = time.monotonic()
            with Children(place) as children:
                console.print(Text(f"Ready after {time.monotonic() - began:.1f} s.", style="dim"))
                return (
                    _tour(place, children, console, options)
                    if options.tour
                    else _stay(place, children, console, options)
                )
    except DemoError as error:
        console.print(Text(f"gatebook demo: {error}", style="red"), soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 130 if options.tour else 0


def introduce(place: Place) -> Introduction:
    """Fetch a token and put everything together that a visitor may paste. The provider must be up."""
    token_url = f"{place.people_url}/token?person={PERSON}&audience={place.mcp_url}&format=text"
    token = httpx2.get(token_url, timeout=10.0, trust_env=False).text
    gatebook, configuration = spoken_command(), short(place.configuration)
    return Introduction(
        directory=str(place.directory),
        configuration=str(place.configuration),
        mcp_url=place.mcp_url,
        people=place.people_url,
        ci=place.ci_url,
        person=PERSON,
        token=token,
        token_url=token_url,
        job_token_url=f"{place.ci_url}/token?job=fraud-model&audience={place.mcp_url}&format=text",
        try_it=clients.curl_call(place.mcp_url, token_url),
        clients=clients.instructions(place.mcp_url),
        desk=place.desk_url,
        me=f"{place.desk_url}/me",
        header=clients.with_header(place.mcp_url, token),
        look=(
            f"{gatebook} sessions --config {configuration}",
            f"{gatebook} log --failed --config {configuration}",
            f"{gatebook} log --tool run_model_inference --finding pan --config {configuration}",
            f"{gatebook} verify {short(place.log)} --key {short(place.log_verifier)}",
        ),
    )


def _stay(place: Place, children: Children, console: Console, options: Options) -> int:
    introduction = introduce(place)
    if options.as_json:
        sys.stdout.write(json.dumps(msgspec.to_builtins(introduction), indent=2) + "\n")
        sys.stdout.flush()
    else:
        _print_introduction(introduction, console)
    children.watch()


def _tour(place: Place, children: Children, console: Console, options: Options) -> int:
    # Imported here: it needs the MCP SDK, which a Gatebook without the demonstration does not have.
    import anyio

    from gatebook.demo import telling, tour

    teller = telling.Teller(console)
    began = time.monotonic()
    page: Path | None = None
    try:
        page = anyio.run(tour.play, place, teller)
    except telling.StepFailed as failed:
        children.check()  # a dead server explains more than the call that missed it
        console.print(
            Text(f"\n✗ step {len(teller.told)}, {teller.told[-1].title}: {failed}", style="bold red"), soft_wrap=True
        )
    if options.as_json:
        summary = {
            "held": page is not None,
            "page": str(page) if page else None,
            "steps": msgspec.to_builtins(teller.told),
        }
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    if page is None:
        return 1
    checks = sum(len(step.checks) for step in teller.told)
    console.print(
        Text(
            f"\nAll {len(teller.told)} steps held, {checks} checks, {time.monotonic() - began:.1f} s.",
            style="bold green",
        )
    )
    console.print(Text(f"Look at the replay page: {page}"), soft_wrap=True)
    return 0


def _print_introduction(introduction: Introduction, console: Console) -> None:
    def say(words: str = "", style: str = "") -> None:
        # soft_wrap: what is meant to be pasted must come out as one line.
        console.print(Text(words, style=style), soft_wrap=True)

    say()
    say(
        "Gatebook stands in front of a payments MCP server. DEMO ONLY: synthetic data, published test card numbers.",
        "bold",
    )
    say(f"  MCP endpoint        {introduction.mcp_url}")
    say(
        f"  people log in at    {introduction.desk}   (alice, bob: support · mallory: no role; press a button, no password)"
    )
    say(f"  how they are seen   {introduction.me}")
    say(f"  CI jobs get tokens  {introduction.ci}   (fraud-model · playground: no role)")
    say(
        f"  everything lies in  {short(Path(introduction.directory))}   (made anew at each start; --keep goes on with the book)"
    )
    say("\nTry it: a customer whose card number comes back masked", "bold")
    say(introduction.try_it, "cyan")
    for instruction in introduction.clients:
        say(f"\n{instruction.client} · {instruction.where} (a browser opens, and you log in)", "bold")
        say(instruction.text, "cyan")
    say(f"\n{introduction.header.client} · {introduction.header.where} (this token lives for an hour)", "bold")
    say(introduction.header.text, "cyan")
    say("\nLook at the book", "bold")
    for command in introduction.look:
        say(command, "cyan")
    say("\nCtrl-C stops everything.", "dim")


def _require_sdk() -> None:
    if importlib.util.find_spec("mcp") is None:
        how = extras.how_to_add(extras.DEMO)
        raise DemoError(f"the demonstration needs the MCP Python SDK, which is not installed. Type:\n\n    {how}\n")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
