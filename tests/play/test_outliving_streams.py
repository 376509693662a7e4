"""Streams that are open while a token ends, a role is taken away, or a login is ended: each is cut, with its record; answers to calls are not torn."""

import asyncio

import msgspec
import pytest

from gatebook.model.deployment import DESK_ISSUER, Allow, Issuer, Match, Role, Trust
from gatebook.model.errors import Reason
from gatebook.model.http import EventStream, Headers
from tests.play.test_hostile_answers import NOTE, STREAM, event
from tests.play.test_one_call import CALL, RESULT
from tests.play.test_streams import LISTEN_HEADERS, listen
from tests.world import Play, deployment

SID = "5" * 32
DESK = Issuer(name=DESK_ISSUER, url="https://login.example.com", kind="desk", leeway_s=5)
KINDS = {"GET": ("GET", b"", ()), "listen": ("POST", listen(resourceSubscriptions=["orders://1"]), LISTEN_HEADERS)}


class Opened:
    """One open stream of alice's, whose reader waits for its next event."""

    def __init__(self, play: Play, stream: EventStream) -> None:
        self.play = play
        self.events = stream.events
        self.waiting: asyncio.Future[bytes] = asyncio.ensure_future(anext(self.events))
        [self.live] = play.world.streams

    def outlived(self, now_s: float | None = None) -> Reason | None:
        now_s = self.play.clock.now().unix_s if now_s is None else now_s
        return self.live.outlived(self.play.standing, self.play.trust, now_s)

    async def ends(self) -> bytes:
        """What still came; the stream has ended."""
        last = b""
        try:
            async with asyncio.timeout(1):
                last = await self.waiting
                while True:
                    last += await anext(self.events)
        except StopAsyncIteration:
            return last


async def opened(method: str, body: bytes, headers: Headers, *, sid: str | None = SID) -> Opened:
    play = Play(issuers=(*deployment().issuers, DESK))
    if sid is not None:
        play.tokens.sids["alice"] = sid
    play.answers(event(NOTE), asyncio.Event(), content_type=STREAM)
    stream = await play.ask(body, headers=headers, method=method)
    assert isinstance(stream, EventStream)
    await anext(stream.events)
    made = Opened(play, stream)
    await asyncio.sleep(0)
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sid", "leeway_s"), [(SID, 5), (None, 50)], ids=["the desk's", "another issuer's"])
async def test_a_stream_that_ends_with_its_reader_ends_with_its_token_within_a_minute(
    kind: str, sid: str | None, leeway_s: float
) -> None:
    stream = await opened(*KINDS[kind], sid=sid)
    expires_at = stream.play.clock.now().unix_s + 300
    assert stream.outlived() is None
    assert stream.outlived(expires_at - 1) is None, "nor would a request with this token be refused then"
    assert stream.outlived(expires_at + leeway_s) is Reason.TOKEN_EXPIRED
    await stream.live.cut(Reason.TOKEN_EXPIRED)
    await stream.ends()
    last = stream.play.drafts[-1]
    assert (last.event, last.reason) == ("stream.close" if kind == "GET" else "call.result", "token_expired")
    assert stream.play.world.streams == set() and stream.play.world.live == {}
    assert stream.play.world.running == {}


async def test_the_answer_to_a_call_is_not_torn_because_its_token_ends() -> None:
    stream = await opened("POST", CALL, ())
    assert stream.outlived(stream.play.clock.now().unix_s + 3600) is None


@pytest.mark.parametrize("kind", [*KINDS, "call"])
async def test_a_role_that_is_taken_away_cuts_what_it_permitted(kind: str) -> None:
    stream = await opened(*(KINDS.get(kind, ("POST", CALL, ()))))
    same = stream.play.standing.snapshot.deployment
    stream.play.standing = stream.play.standing_of(msgspec.structs.replace(same, workers=2))
    assert stream.outlived() is None, "another configuration that permits the same"
    other = Role(
        name="auditor",
        match=(Match(issuer="corp", group="audit"),),
        allow=(Allow(server="payments", tools=("**",)),),
    )
    stream.play.standing = stream.play.standing_of(msgspec.structs.replace(same, roles=(other,)))
    assert stream.outlived() is Reason.DENIED
    await stream.live.cut(Reason.DENIED)
    last = await stream.ends()
    assert stream.play.drafts[-1].reason == "denied"
    assert (b'"reason":"denied"' in last) == (kind != "GET"), "what was asked is answered"


async def test_a_grant_on_part_of_a_subscription_is_none_on_the_whole() -> None:
    stream = await opened(*KINDS["listen"])
    same = stream.play.standing.snapshot.deployment
    narrower = Role(
        name="support",
        match=(Match(issuer="corp", group="support"),),
        allow=(Allow(server="payments", resources=("orders://2",)),),
    )
    stream.play.standing = stream.play.standing_of(msgspec.structs.replace(same, roles=(narrower,)))
    assert stream.outlived() is Reason.DENIED


async def test_a_server_that_is_gone_from_the_configuration_has_no_streams() -> None:
    stream = await opened(*KINDS["GET"])
    same = stream.play.standing.snapshot.deployment
    stream.play.standing = stream.play.standing_of(msgspec.structs.replace(same, servers=()))
    assert stream.outlived() is Reason.DENIED


@pytest.mark.parametrize("kind", [*KINDS, "call"])
async def test_a_revoked_login_cuts_every_kind(kind: str) -> None:
    stream = await opened(*(KINDS.get(kind, ("POST", CALL, ()))))
    stream.play.trust = Trust(number=2, revoked=frozenset({SID}))
    assert stream.outlived() is Reason.LOGIN_REVOKED, "also one that was being opened when the revocation came"
    await stream.live.cut(Reason.LOGIN_REVOKED)
    await stream.ends()
    assert stream.play.drafts[-1].reason == "login_revoked"


async def test_a_stream_that_has_ended_is_asked_no_more() -> None:
    play = Play()
    play.answers(event(RESULT), content_type=STREAM)
    stream = await play.ask(CALL)
    assert isinstance(stream, EventStream) and len(play.world.streams) == 1
    assert [piece async for piece in stream.events] == [event(RESULT)]
    assert play.world.streams == set()
