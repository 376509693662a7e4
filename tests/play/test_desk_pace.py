"""How often one source may begin a login at the desk, who that source is, and what nobody is counted for."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import msgspec
import pytest

from gatebook.model.source import source_of
from gatebook.serve.desk_http.app import application
from gatebook.serve.desk_http.pace import Pace
from tests.desk_world import DESK, DeskPlay, deployment

PROXY, OTHER_PROXY, STRANGER = "10.1.2.3", "10.1.2.4", "203.0.113.9"
MOST = 3


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskPlay]:
    play = DeskPlay(tmp_path, msgspec.structs.replace(deployment(), trusted_proxies=("10.0.0.0/8",)))
    play.world = msgspec.structs.replace(play.world, pace=Pace(MOST, 3600.0))
    yield play
    await play.close()


async def begun(desk: DeskPlay, peer: str, path: str = "/me", **headers: str) -> int:
    """The status of one more login that begins."""
    transport = httpx2.ASGITransport(app=application(lambda: desk.world), client=(peer, 1))
    async with httpx2.AsyncClient(transport=transport, base_url=DESK, follow_redirects=False) as http:
        return (await http.get(path, headers=headers)).status_code


@pytest.mark.parametrize(
    ("ip", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("local", "local"),
        ("", ""),
    ],
)
def test_a_source_is_an_address_or_a_network_of_one_holder(ip: str, source: str) -> None:
    assert source_of(ip) == source


@pytest.mark.parametrize(
    "peers", [[STRANGER] * (MOST + 1), [f"2001:db8::{n:x}" for n in range(MOST + 1)]], ids=["address", "/64"]
)
async def test_one_source_begins_only_so_many(desk: DeskPlay, peers: list[str]) -> None:
    assert [await begun(desk, peer) for peer in peers] == [303] * MOST + [429]
    assert await begun(desk, "2001:db8:0:1::1") == await begun(desk, "192.0.2.1") == 303


async def test_who_comes_through_a_trusted_proxy_is_counted_and_recorded_by_himself(desk: DeskPlay) -> None:
    for number in range(3 * MOST):
        forwarded = {"x-forwarded-for": f"192.0.2.{number}, {OTHER_PROXY}"}
        assert await begun(desk, PROXY, **forwarded) == 303
    for status in [303] * MOST + [429]:
        assert await begun(desk, PROXY, **{"x-forwarded-for": f"198.51.100.1, {STRANGER}"}) == status
    assert desk.drafts[-1].origin.ip == STRANGER
    # Whom nobody trusts says nothing of where it comes from.
    for number in range(MOST + 1):
        last = await begun(desk, "198.51.100.77", **{"x-forwarded-for": f"192.0.2.{number}"})
    assert last == 429 and desk.drafts[-1].origin.ip == "198.51.100.77"


@pytest.mark.parametrize("path", ["/me", "/oauth/authorize"])
async def test_what_a_page_loads_by_the_way_begins_no_login_and_shuts_nobody_out(desk: DeskPlay, path: str) -> None:
    for kind in ("image", "iframe", "script", "empty") * 5:
        assert await begun(desk, STRANGER, path, **{"sec-fetch-dest": kind}) == 400
    assert await begun(desk, STRANGER, "/me", **{"sec-fetch-dest": "document"}) == 303
    assert await begun(desk, STRANGER, "/me") == 303


async def test_many_addresses_together_fill_the_book_no_faster_than_one_flood_may(desk: DeskPlay) -> None:
    desk.world = msgspec.structs.replace(desk.world, refusals=Pace(2, 3600.0), all_refusals=Pace(10, 3600.0))
    for number in range(40):
        await begun(desk, f"2001:db8:0:{number:x}::1", "/oauth/authorize?client_id=nobody")
    written = desk.events("login.refused")
    assert len(written) == 10 + 1 and [draft.detail.get("attempts") for draft in written[9:]] == [None, 1]
    [counted] = desk.world.attempts.ended(2**62)
    assert counted.detail["attempts"] == 29, "all of them are in the book, as a number"
