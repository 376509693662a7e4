"""The pictures of docs/img, made anew:  python -m tests.e2e.desk.screenshots DIRECTORY

NAME.png for the guide, and NAME-390.png (light) and NAME-1440.png (dark), which somebody must look at. Then: pngquant --ext .png --force 64 *.png
"""

import json
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.e2e.browser import arrive, go, look, press, tab_to, walk, write
from tests.e2e.desk import CALLBACK, CLIENT_ID, place
from tests.e2e.oidc_provider import Person

ALICE = Person(
    sub="00u1alice", groups=("support", "staff", "berlin"), amr=("pwd", "otp"), claims={"email": "alice@example.com", "email_verified": True}
)  # fmt: skip
MORE = """
[[idp]]
name = "partner"
url = "http://localhost:9"
client_id = "gatebook"
[[role]]
name = "refunds"
match = [ { issuer = "corp", group = "finance" } ]
allow = [ { server = "payments", tools = ["refund"] } ]
"""


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, place(Path(temporary) / "desk", MORE) as here:
        alice = here.browser(ALICE)
        stranger = {"redirect_uris": [CALLBACK], "client_name": "Report writer"}
        client_id = here.http.post(f"{here.issuer}/oauth/register", json=stranger).json()["client_id"]
        for server, client in (("payments", client_id), ("orders", CLIENT_ID)):
            verifier = "v" * 64
            page = alice.visit(here.request(server, client_id=client, verifier=verifier))
            handle = page.url.rpartition("=")[2]
            if page.location is None:  # the choice of providers
                page = alice.visit(f"{here.issuer}/login?request={handle}&idp=corp")
            form = {"grant_type": "authorization_code", "code": page.answer["code"], "redirect_uri": CALLBACK}
            assert here.token(**form, client_id=client, code_verifier=verifier).status_code == 200
        stranger["client_name"] = "Spreadsheet helper"
        client_id = here.http.post(f"{here.issuer}/oauth/register", json=stranger).json()["client_id"]
        for name, width, scheme in (("-390", 390, "light"), ("-1440", 1440, "dark"), ("", 720, "light")):
            shot = lambda page: directory / f"{page}{name}.png"  # noqa: B023, E731 - used before the next turn
            walk(
                here.request(client_id=client_id), look(shot("login")), tab_to("corp"), press("Enter"), arrive(here.idp.url), tab_to(""),
                write(json.dumps(msgspec.to_builtins(ALICE))), press("Enter"), arrive(f"{here.issuer}/consent"), look(shot("consent")),
                go(f"{here.issuer}/me"), look(shot("me")), go(here.request(client_id=CLIENT_ID, redirect_uri="https://evil.example/callback")),
                look(shot("refused")), width=width, height=800 if name else 420, scheme=scheme,
            )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
