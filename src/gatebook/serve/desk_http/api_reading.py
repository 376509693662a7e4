"""What people read through the desk: themselves, the log, a call, the sessions, a recording, proofs."""

import asyncio
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from starlette.requests import Request

from gatebook.federation import desk_api
from gatebook.ledger import payload, reading
from gatebook.ledger.merkle import inclusion_proof, leaf_hash
from gatebook.ledger.tiles import nodes_from_tiles
from gatebook.masking import mask_text
from gatebook.model.record import Resource
from gatebook.reading.account import account_of
from gatebook.reading.book import Book
from gatebook.reading.playback import Opener, Replayed, play
from gatebook.reading.selection import Selection, instant
from gatebook.reading.sessions import Lines, last_seen
from gatebook.serve.desk_http.api import Caller, Done, NotUnderstood, draft_of, parameters_of
from gatebook.serve.desk_http.world import DeskWorld

LOOKED_AT: Final = 100_000
"""Entries that one search looks at; the caller goes on with `before`. A desk that searches for a minute is slow for whoever logs in."""

_CONDITIONS: Final = ("call", "session", "person", "tool", "event", "reason", "finding", "since", "until", "failed")
T = TypeVar("T")


async def me(_request: Request, world: DeskWorld, caller: Caller) -> Done:
    """How the person who asks is seen. Nothing of the book is shown, so it is no reading of it."""
    seen = caller.login.seen
    return Done(
        answer=desk_api.Seen(
            issuer=seen.person.issuer,
            idp=seen.idp,
            subject=seen.person.subject,
            label=seen.person.label,
            groups=tuple(sorted(caller.principal.groups)),
            groups_left_out=seen.groups_left_out,
            mfa=seen.mfa,
            amr=seen.evidence.amr,
            acr=seen.evidence.acr,
            roles=caller.roles,
            login_ends_at=caller.login.expires_at,
            servers=tuple(
                desk_api.ServerShown(name=each.name, resource=each.resource) for each in world.deployment.servers
            ),
        ),
        drafts=(),
    )


async def log(request: Request, world: DeskWorld, caller: Caller) -> Done:
    """`gatebook log`: the newest entries that are wanted."""
    asked = parameters_of(request, *_CONDITIONS, "limit", "before")
    selection = _selection(asked, world)
    limit = _number(asked, "limit", 50, desk_api.MOST_ENTRIES)
    before = _number(asked, "before", 1 << 53, 1 << 53) if "before" in asked else None
    found = await _reading(world, lambda book: book.newest(selection, limit, before=before, at_most=LOOKED_AT))
    conditions: dict[str, str | int | bool] = {name: asked[name] for name in _CONDITIONS if name in asked}
    detail = {**conditions, "found": len(found.entries)}
    resource = Resource(kind="log", method="log")
    return Done(answer=found, drafts=(draft_of(request, caller, "log.read", "completed", resource, detail),))


async def why(request: Request, world: DeskWorld, caller: Caller) -> Done:
    """`gatebook why`: everything about one call."""
    parameters_of(request)
    call: str = request.path_params["name"]
    account = await _reading(world, lambda book: account_of(book, _plain(call)))
    detail: dict[str, str | int | bool] = {"call": call, "found": len(account.entries) if account else 0}
    resource = Resource(kind="log", method="why")
    return Done(answer=account, drafts=(draft_of(request, caller, "log.read", "completed", resource, detail),))


async def sessions(request: Request, world: DeskWorld, caller: Caller) -> Done:
    """`gatebook sessions`: those last seen."""
    limit = _number(parameters_of(request, "limit"), "limit", 50, desk_api.MOST_ENTRIES)
    lines = await _reading(world, lambda book: last_seen(book, limit))
    resource = Resource(kind="log", method="sessions")
    draft = draft_of(request, caller, "log.read", "completed", resource, {"found": len(lines)})
    return Done(answer=Lines(sessions=tuple(lines)), drafts=(draft,))


async def recording(request: Request, world: DeskWorld, caller: Caller) -> Done:
    """`gatebook replay`: one session again, with its bodies where the desk holds the key."""
    to = parameters_of(request, "to").get("to", "terminal")
    beginning: str = request.path_params["name"]
    replayed = await _reading(world, lambda book: _replayed(world, book, _plain(beginning)))
    name = replayed.playback.session if replayed else mask_text(beginning)[0]
    detail: dict[str, str | int | bool] = {"to": to, "found": len(replayed.playback.steps) if replayed else 0}
    resource = Resource(kind="recording", method="replay", name=name)
    return Done(answer=replayed, drafts=(draft_of(request, caller, "recording.read", "completed", resource, detail),))


async def proof(request: Request, world: DeskWorld, caller: Caller) -> Done:
    """That one entry is in the log, under the checkpoint that is published now."""
    parameters_of(request)
    index = _index(request.path_params["name"])
    found = await _reading(world, lambda book: _proof(book, index))
    resource = Resource(kind="log", method="proof")
    draft = draft_of(request, caller, "log.read", "completed", resource, {"index": index, "found": 1 if found else 0})
    return Done(answer=found, drafts=(draft,))


async def _reading(world: DeskWorld, work: Callable[[Book], T]) -> T:
    """`work` done on the log as it is sealed now, beside the event loop, and few at a time. Raises NotUnderstood where it cannot be read."""
    async with world.readings:
        return await asyncio.to_thread(_on_book, world, work)


def _on_book(world: DeskWorld, work: Callable[[Book], T]) -> T:
    directory = Path(world.deployment.data_dir)
    log_files = world.files(directory / "log")
    try:
        head = reading.head(log_files)
        return work(Book(log=log_files, payloads=world.files(directory / "payloads"), head=head))
    except (OSError, ValueError) as failure:
        words = "The log cannot be read here; `gatebook verify` on the host says what is wrong with it."
        raise NotUnderstood(words) from failure


def _replayed(world: DeskWorld, book: Book, beginning: str) -> Replayed | None:
    session = book.session_named(beginning)
    if session is None:
        return None
    opener, locked = _opener(world, book)
    return Replayed(playback=play(session, book.about(session=session), opener), locked=locked)


def _opener(world: DeskWorld, book: Book) -> tuple[Opener, str | None]:
    if world.desk.payload_key is None:
        words = "the desk holds no private payload key (desk.payload_key): bodies are opened where that key is"
        return (lambda _entry, _pay: reading.Opened(None)), words
    try:
        private = payload.load_private_key(Path(world.desk.payload_key).read_text("utf-8"))
    except (OSError, ValueError):
        return (lambda _entry, _pay: reading.Opened(None)), "the desk's payload key (desk.payload_key) cannot be used"
    return reading.opener(book.payloads, private), None


def _proof(book: Book, index: int) -> desk_api.Proof | None:
    size = book.head.size
    if index >= size:
        return None
    nodes = inclusion_proof(index, size, nodes_from_tiles(size, book.log.read))
    [(_, leaf)] = reading.leaves(book.log, index, index + 1)
    return desk_api.Proof(
        index=index,
        size=size,
        leaf=leaf_hash(leaf).hex(),
        proof=tuple(node.hex() for node in nodes),
        checkpoint=book.log.read("checkpoint").decode("utf-8", "replace"),
    )


def _selection(asked: dict[str, str], world: DeskWorld) -> Selection:
    now = datetime.datetime.fromtimestamp(world.now_s(), datetime.UTC)
    try:
        return Selection(
            call=asked.get("call"),
            session=asked.get("session"),
            person=asked.get("person"),
            tool=asked.get("tool"),
            event=asked.get("event"),
            reason=asked.get("reason"),
            finding=asked.get("finding"),
            since=instant(asked["since"], now) if "since" in asked else None,
            until=instant(asked["until"], now) if "until" in asked else None,
            failed=asked.get("failed") == "true",
        )
    except (ValueError, OverflowError) as error:
        raise NotUnderstood("since or until is no time: write 2026-11-22, 2026-11-22T16:30, or 15m, 2h, 1d") from error


def _number(asked: dict[str, str], name: str, default: int, most: int) -> int:
    text = asked.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 16 or not 1 <= int(text) <= most:
        raise NotUnderstood(f"{name} must be a number from 1 to {most}.")
    return int(text)


def _index(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 16:
        raise NotUnderstood("An entry is named by its index: a number.")
    return int(text)


def _plain(text: str) -> str:
    """An id's beginning as bytes of entries hold it. Raises NotUnderstood."""
    if not text.isascii() or not text.isprintable() or len(text) > 100:
        raise NotUnderstood("That is no id, nor the beginning of one.")
    return text
