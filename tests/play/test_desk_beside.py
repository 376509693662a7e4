"""[74] One person at two places at once is noted at the login: other logins of theirs that are in use. It is not refused."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.desk_world import DeskPlay, claims_of


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskPlay]:
    play = DeskPlay(tmp_path)
    yield play
    await play.close()


def beside(desk: DeskPlay) -> list[object]:
    """What each login so far was told to have beside it."""
    return [draft.detail.get("beside", 0) for draft in desk.events("login.completed")]


async def test_a_login_says_how_many_other_logins_of_the_person_are_in_use(desk: DeskPlay) -> None:
    await desk.log_in()
    await desk.log_in()
    await desk.log_in()
    assert beside(desk) == [0, 1, 2]
    await desk.log_in("bob")
    assert beside(desk) == [0, 1, 2, 0], "another person's do not count"


async def test_a_login_that_is_idle_or_over_is_no_other_place(desk: DeskPlay) -> None:
    first = await desk.log_in()
    desk.pass_time(901)
    await desk.log_in()
    assert beside(desk) == [0, 0]
    desk.called(first["access_token"])
    third = await desk.log_in()
    assert beside(desk) == [0, 0, 2], "the first is in use again"
    await desk.post("/oauth/revoke", token=third["refresh_token"])
    await desk.post("/oauth/revoke", token=first["refresh_token"])
    await desk.log_in()
    assert beside(desk) == [0, 0, 2, 1]


async def test_two_servers_and_two_clients_of_one_login_are_one_place(desk: DeskPlay) -> None:
    await desk.log_in()
    await desk.again(server="orders")
    tokens = await desk.log_in()
    assert beside(desk) == [0, 1]
    assert claims_of(tokens["access_token"])["groups"] == ["support"], "nothing is refused for it"


async def test_a_new_login_in_the_same_browser_is_no_other_place(desk: DeskPlay) -> None:
    await desk.log_in()
    await desk.again(prompt="login")
    assert beside(desk) == [0, 0]
