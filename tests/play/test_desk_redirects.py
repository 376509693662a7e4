"""Where the desk sends a browser by itself: to clients that somebody here vouches for, and to nobody's site before its person was asked."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.desk_world import CALLBACK, DeskPlay, deployment

STRANGER = "https://stranger.example/client.json"
SITE = "https://stranger.example/phishing"


class Documents:
    """What a stranger says of himself."""

    async def fetch(self, url: str) -> bytes:
        return json.dumps({"client_id": STRANGER, "client_name": "S", "redirect_uris": [SITE, CALLBACK]}).encode()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskPlay]:
    play = DeskPlay(tmp_path, deployment(desk={"client_metadata": "fetched"}))
    play.world = msgspec.structs.replace(play.world, documents=Documents())
    yield play
    await play.close()


@pytest.mark.parametrize(
    "wrong",
    [{"scope": "nothing"}, {"resource": "https://x.example"}, {"code_challenge": ""}, {"response_type": "token"}],
)
async def test_a_link_to_us_with_a_mistake_in_it_leads_nobody_to_a_strangers_site(
    desk: DeskPlay, wrong: dict[str, str]
) -> None:
    answer = await desk.authorize(client_id=STRANGER, redirect_uri=SITE, **wrong)
    assert answer.status_code == 400 and "location" not in answer.headers
    assert [draft.event for draft in desk.drafts] == ["login.refused"]


@pytest.mark.parametrize(("client", "uri"), [({}, CALLBACK), ({"client_id": STRANGER}, CALLBACK)])
async def test_a_client_that_was_vouched_for_and_the_persons_own_machine_are_told(
    desk: DeskPlay, client: dict[str, str], uri: str
) -> None:
    answer = await desk.authorize(redirect_uri=uri, scope="nothing", **client)
    assert answer.status_code == 302 and answer.headers["location"].startswith(f"{uri}?error=invalid_scope")


async def test_a_strangers_site_gets_an_answer_once_its_person_was_asked(desk: DeskPlay) -> None:
    answer = await desk.browse(await desk.authorize(client_id=STRANGER, redirect_uri=SITE), "alice", to=SITE)
    assert urlsplit(answer.headers["location"])._replace(query="").geturl() == SITE
