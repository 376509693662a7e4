"""`gatebook idp add NAME`: what is asked, and the `[[idp]]` table that comes of it."""

import json
import os
from pathlib import Path
from typing import Final

import msgspec
import typer

from gatebook.cli.person.errors import PersonError
from gatebook.config import Problem, examine_bytes
from gatebook.durable import replace_file
from gatebook.model.deployment import Preset

URLS: Final[dict[Preset, str]] = {
    "okta": "https://ORG.okta.com",
    "entra": "https://login.microsoftonline.com/TENANT/v2.0",
    "google": "https://accounts.google.com",
    "keycloak": "https://HOST/realms/REALM",
    "auth0": "https://TENANT.auth0.com/",
    "generic": "https://HOST",
}


_DESK: Final = """
# Where people log in: the desk, on this machine alone.
[desk]
listen = ["127.0.0.1:8444"]
public_url = "http://127.0.0.1:8444"
"""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as it was told. `secret`: the file's path, None for a public client; `domain`: of Google alone."""

    name: str
    preset: Preset
    url: str
    client_id: str
    secret: str | None
    groups_claim: str
    amr: tuple[str, ...]
    domain: str | None = None


def asked(name: str) -> Wanted:
    """What the person at the terminal says."""
    preset = typer.prompt(f"Which provider ({', '.join(URLS)})", default="generic")
    while preset not in URLS:
        preset = typer.prompt(f"One of {', '.join(URLS)}")
    url = typer.prompt(f"Its issuer, to the slash, like {URLS[preset]}")
    client_id = typer.prompt("Gatebook's client id there")
    path = typer.prompt("File for the client secret (- for none)", default=f"secrets/{name}-client-secret")
    domain = typer.prompt("Your Workspace domain") if preset == "google" else None
    claim = "groups" if preset == "google" else typer.prompt("The claim that lists groups", default="groups")
    amr = typer.prompt("Values of amr that mean a second factor (- for none)", default="mfa otp")
    return Wanted(
        name=name,
        preset=preset,
        url=url,
        client_id=client_id,
        secret=None if path == "-" else path,
        groups_claim=claim,
        amr=() if amr == "-" else tuple(amr.split()),
        domain=domain,
    )


def table_of(wanted: Wanted) -> str:
    """The table as it is appended to the file."""
    lines = {
        "name": wanted.name,
        "preset": wanted.preset,
        "url": wanted.url,
        "client_id": wanted.client_id,
        "client_secret": None if wanted.secret is None else f"file:{wanted.secret}",
        "groups_claim": None if wanted.groups_claim == "groups" else wanted.groups_claim,
        "domain": wanted.domain,
    }
    # A JSON string in ASCII is a basic string of TOML, too.
    text = "\n[[idp]]\n" + "".join(
        f"{key} = {json.dumps(value)}\n" for key, value in lines.items() if value is not None
    )
    return text + (f"mfa = {{ amr = {json.dumps(list(wanted.amr))} }}\n" if wanted.amr else "")


def add(config: Path, wanted: Wanted) -> None:
    """The table stands in the file, whose other bytes are as they were; in dev with a `[desk]` before it where there was none. Raises PersonError where that would be wrong: then nothing is changed."""
    try:
        before = config.read_bytes()
    except OSError as failure:
        raise PersonError(f"{config} cannot be read: {failure.strerror}; `gatebook init` makes one") from failure
    missing = "" if _has_desk(config, before) else _DESK
    after = before + (b"" if before.endswith(b"\n") else b"\n") + (missing + table_of(wanted)).encode()
    known = set(examine_bytes(before, config).problems)
    new = [each for each in examine_bytes(after, config).problems if each not in known and _counts(each)]
    if new:
        raise PersonError("it is not written, because: " + "; ".join(str(each) for each in new))
    if wanted.secret is not None:
        _keep_secret(config.parent / wanted.secret)
    _replace(config, after)


def _has_desk(config: Path, before: bytes) -> bool:
    """Whether people can log in anywhere; in pci whoever runs it says where, so nothing is added there."""
    deployment = examine_bytes(before, config).deployment
    return deployment is None or deployment.desk is not None or deployment.profile == "pci"


def _counts(problem: Problem) -> bool:
    """Errors; a warning that no role matches the new provider's people yet is what comes next."""
    return problem.severity == "error"


def _keep_secret(path: Path) -> None:
    if path.exists():
        return
    secret = typer.prompt("The client secret (it is not shown)", hide_input=True)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(secret + "\n")
    except OSError as failure:
        raise PersonError(f"{path} cannot be written: {failure.strerror}; nothing was changed") from failure


def _replace(path: Path, content: bytes) -> None:
    try:
        replace_file(path, content, mode=path.stat().st_mode & 0o777)
    except OSError as failure:
        raise PersonError(f"{path} cannot be written: {failure.strerror}") from failure
