"""The desk's API, asked as the person who is logged in."""

import time
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec
import typer

from gatebook.cli.person import tokens
from gatebook.cli.person.asking import Answer, ask, demand_safe
from gatebook.cli.person.errors import NotLoggedIn, Refused, Unreachable
from gatebook.cli.person.logins import LoginFile
from gatebook.federation import desk_api
from gatebook.reading.account import Account
from gatebook.reading.book import Found
from gatebook.reading.playback import Replayed
from gatebook.reading.sessions import Line, Lines

T = TypeVar("T")

DESK: Final = typer.Option(
    None,
    "--desk",
    envvar="GATEBOOK_DESK",
    help="Ask this desk, as the person logged in there, instead of reading files. Default: the desk logged in at, where neither "
    "the configuration nor --data-dir is there.",
)


class Api:
    """One desk's API. Every method raises NotLoggedIn, Refused, Unreachable."""

    def __init__(self, desk: str, file: LoginFile) -> None:
        self.desk = desk
        self._file = file

    def me(self) -> desk_api.Seen:
        return _read(self._get("/me"), desk_api.Seen)

    def log(self, asked: dict[str, str], limit: int) -> Found:
        """The newest entries wanted: as many questions as the desk needs, because each looks at a part of the log."""
        found: list[Any] = []
        more, before = True, None
        while more and len(found) < limit:
            most = min(limit - len(found), desk_api.MOST_ENTRIES)
            query = {**asked, "limit": str(most)} | ({} if before is None else {"before": str(before)})
            part = _read(self._get("/log", query), Found)
            found[:0] = part.entries
            more, before = part.more, part.before
            if before == 0:
                more = False
        return Found(entries=tuple(found), more=more, before=before or 0)

    def call(self, call: str) -> Account | None:
        answer = self._get(f"/calls/{quote(call, safe='')}")
        return None if answer.status == 404 else _read(answer, Account)

    def sessions(self, limit: int) -> list[Line]:
        return list(_read(self._get("/sessions", {"limit": str(limit)}), Lines).sessions)

    def recording(self, session: str, to: str) -> Replayed | None:
        answer = self._get(f"/recordings/{quote(session, safe='')}", {"to": to})
        return None if answer.status == 404 else _read(answer, Replayed)

    def proof(self, index: int) -> desk_api.Proof | None:
        answer = self._get(f"/proofs/{index}")
        return None if answer.status == 404 else _read(answer, desk_api.Proof)

    def grants(self) -> tuple[desk_api.GrantShown, ...]:
        return _read(self._get("/grants"), desk_api.Grants).grants

    def revoke(self, wanted: desk_api.Revocation) -> tuple[str, ...]:
        body = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None}
        return _read(self._ask("POST", "/grants/revoke", json=body), desk_api.Revoked).sids

    def _get(self, path: str, query: dict[str, str] | None = None) -> Answer:
        return self._ask("GET", path, query=query)

    def _ask(self, method: str, path: str, *, query: dict[str, str] | None = None, json: object = None) -> Answer:
        resource = f"{self.desk}/api"
        token = self._token(resource)
        answer = ask(method, resource + path, query=query, json=json, token=token)
        if answer.status == 401:
            token = self._token(resource, instead_of=token)
            answer = ask(method, resource + path, query=query, json=json, token=token)
        return answer

    def _token(self, resource: str, *, instead_of: str | None = None) -> str:
        try:
            return tokens.kept_token(self._file, resource, time.time, instead_of=instead_of)
        except NotLoggedIn as nobody:
            raise NotLoggedIn(f"{nobody}; run `gatebook login --desk {self.desk}`") from nobody


def api_wanted(desk: str | None, config: Path | None = None, data_dir: Path | None = None) -> Api | None:
    """The desk to ask; None where the command is to read files: it was given a data directory, or a configuration lies there, or nobody is
    logged in. Raises PersonError."""
    file = LoginFile.of_user()
    if desk is not None:
        return Api(demand_safe(desk.rstrip("/"), "the desk"), file)
    if data_dir is not None or (config is not None and config.exists()):
        return None
    known = file.read().desk
    return None if known is None else Api(known, file)


def the_api(desk: str | None) -> Api:
    """The desk to ask, for commands that have nothing else to read. Raises NotLoggedIn, PersonError."""
    api = api_wanted(desk)
    if api is None:
        raise NotLoggedIn("nobody is logged in: run `gatebook login --desk URL`, with the desk's public_url")
    return api


def _read(answer: Answer, kind: type[T]) -> T:
    if answer.status != 200:
        words = "".join(each for each in str(answer.document.get("error_description", "")) if each.isprintable())[:300]
        if answer.status in (400, 401, 403, 404):
            raise Refused(f"the desk says no: {words or answer.status}", str(answer.document.get("error", "")))
        raise Unreachable(f"the desk cannot answer at the moment ({answer.status}): {words or 'try again'}")
    try:
        return msgspec.json.decode(answer.raw, type=kind)
    except msgspec.MsgspecError as error:
        raise Unreachable(
            "the desk's answer is not one that this version knows: use the same version as the desk"
        ) from error
