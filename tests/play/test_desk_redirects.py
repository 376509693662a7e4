"""Where the desk sends a browser by itself: to clients that somebody here vouches for, and to nobody's site before its person was asked."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from tests.desk_world import CALLBACK, VERIFIER, DeskPlay, deployment

STRANGER = "https://stranger.example/client.json"
SITE = "https://stranger.example/phishing"


class Documents:
    """What a stranger says of himself."""

    def __init__(self) -> None:
        self.fetched = 0

    async def fetch(self, url: str) -> bytes:
        self.fetched += 1
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


async def test_what_a_client_says_of_itself_is_read_when_a_person_is_asked_and_not_by_whoever_posts(
    desk: DeskPlay,
) -> None:
    """Else anybody had the desk fetch any address, as often as they like; and a client whose host is down could not go on."""
    documents = desk.world.documents
    assert isinstance(documents, Documents)
    for posted in ("/oauth/token", "/oauth/revoke"):
        for grant in ({"grant_type": "authorization_code", "code": "guess"}, {"token": "guess"}):
            await desk.post(posted, client_id=STRANGER, **grant)
    assert documents.fetched == 0
    came = await desk.browse(await desk.authorize(client_id=STRANGER, redirect_uri=SITE), "alice", to=SITE)
    read = documents.fetched
    code = parse_qs(urlsplit(came.headers["location"]).query)["code"][0]
    told = {"client_id": STRANGER, "redirect_uri": SITE, "code_verifier": VERIFIER}
    wrong = await desk.post(
        "/oauth/token", grant_type="authorization_code", code=code, **told | {"redirect_uri": CALLBACK}
    )
    assert wrong.status_code == 400
    tokens = (await desk.post("/oauth/token", grant_type="authorization_code", code=code, **told)).json()
    again = await desk.post(
        "/oauth/token", grant_type="refresh_token", refresh_token=tokens["refresh_token"], client_id=STRANGER
    )
    assert again.status_code == 200
    assert (
        await desk.post("/oauth/revoke", token=again.json()["refresh_token"], client_id=STRANGER)
    ).status_code == 200
    assert [draft.event for draft in desk.drafts if draft.event == "grant.revoked"] == ["grant.revoked"]
    assert documents.fetched == read
