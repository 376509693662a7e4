"""What an end means: the program must ask again, the cookie of before opens nothing, and a name that became another's vouches for nobody."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gatebook.federation.records import hashed
from tests.desk_world import CALLBACK, DESK, DeskPlay


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskPlay]:
    play = DeskPlay(tmp_path)
    yield play
    await play.close()


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found is not None, page
    return found[1]


async def test_a_program_that_a_person_ended_must_ask_the_person_again(desk: DeskPlay) -> None:
    await desk.log_in()
    silently = await desk.browse(await desk.authorize(), "alice")
    assert silently.headers["location"].startswith(CALLBACK), "agreed to before: no question"
    page = (await desk.http.get("/me")).text
    form = {"sid": field(page, "sid"), "token": field(page, "token")}
    ended = await desk.http.post("/me/end", data=form, headers={"origin": DESK})
    assert ended.status_code in (302, 303)
    asked = await desk.authorize()
    consent = await desk.http.get(asked.headers["location"])
    assert consent.status_code == 200 and "May this program act for you?" in consent.text


async def test_the_cookie_of_an_earlier_login_of_this_browser_opens_nothing(desk: DeskPlay) -> None:
    await desk.log_in()
    earlier = [cookie.value for cookie in desk.http.cookies.jar if "session" in cookie.name]
    assert len(earlier) == 1 and earlier[0] is not None
    assert desk.store.login_of_browser(hashed(earlier[0]), desk.world.now_s()) is not None
    desk.pass_time(1000)  # idle: this browser is sent to the provider again
    await desk.again()
    assert desk.provider.asked.count("redeem") == 2
    assert desk.store.login_of_browser(hashed(earlier[0]), desk.world.now_s()) is None


async def test_a_provider_that_took_anothers_name_vouches_for_nobody_and_learns_nothing(desk: DeskPlay) -> None:
    tokens = await desk.log_in()
    [idp] = desk.world.deployment.idps
    moved = msgspec.structs.replace(idp, url="https://other.example")
    desk.world.deployment = msgspec.structs.replace(desk.world.deployment, idps=(moved,))
    desk.pass_time(300)
    desk.called(tokens["access_token"])
    assert (await desk.refreshed(tokens["refresh_token"])).status_code == 400
    assert desk.provider.asked == ["redeem"], "what asks the one is not sent to the other"
    assert (await desk.authorize()).headers["location"].startswith("/login")
