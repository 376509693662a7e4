"""`gatebook saml-metadata`: fetched over https from the one URL, judged, shown, and written only when somebody says so."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gatebook.cli.app import app
from tests.asserting import key_pair
from tests.faults.certificates import Authority
from tests.unit.federation.test_saml_metadata import ENTITY, key, metadata


class Served:
    """What the server answers: `body`, `status`, `headers` may be changed."""

    def __init__(self, directory: Path) -> None:
        self.body = metadata(key("new")).encode()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.url = ""
        self.authority = Authority(directory)
        self.config = directory / "gatebook.toml"
        self.file = directory / "okta.xml"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    found = Served(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(found.body)

        def log_message(self, format: str, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*found.authority.issue("127.0.0.1"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"https://127.0.0.1:{server.server_address[1]}/metadata"
    found.config.write_text(
        f'''profile = "dev"
[desk]
listen = ["127.0.0.1:8444"]
public_url = "http://127.0.0.1:8444"
[[idp]]
name = "okta"
kind = "saml"
url = "{ENTITY}"
ca_file = "{found.authority.certificate}"
saml = {{ metadata = "okta.xml", metadata_url = "{found.url}" }}
'''
    )
    yield found
    server.shutdown()
    server.server_close()


def run(served: Served, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(
        app, ["saml-metadata", "okta", "--config", str(served.config), *options], env={"COLUMNS": "120"}
    )
    return result.exit_code, result.output


def test_nothing_is_written_until_somebody_says_so(served: Served) -> None:
    code, output = run(served)
    assert (code, served.file.exists()) == (3, False)
    assert "new" in output and "https://idp.example/redirect" in output
    assert run(served, "--write")[0] == 0
    assert served.file.read_bytes() == served.body
    code, output = run(served)
    assert code == 0 and "kept" in output


def test_a_roll_over_shows_what_comes_and_what_goes(served: Served) -> None:
    served.file.write_text(metadata(key("old")))
    code, output = run(served)
    assert code == 3 and "new" in output and "gone" in output
    assert served.file.read_text() == metadata(key("old"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": 302, "headers": {"location": "https://evil.example/"}}, "redirects are not followed"),
        ({"body": b"<html/>"}, "exactly one entity"),
        ({"body": metadata(key("new"), entity="urn:evil").encode()}, "exactly one entity"),
        ({"body": b"x" * 2_000_001}, "larger than"),
        ({"headers": {"content-encoding": "gzip"}}, "content coding"),
    ],
)
def test_what_cannot_be_used_is_never_written(served: Served, change: dict[str, object], said: str) -> None:
    served.file.write_text(metadata(key("old")))
    for name, value in change.items():
        setattr(served, name, value)
    code, output = run(served, "--write")
    assert (code, said in " ".join(output.split())) == (1, True), output
    assert served.file.read_text() == metadata(key("old"))


def test_a_host_that_nobody_vouches_for_is_not_asked(served: Served) -> None:
    served.config.write_text(served.config.read_text().replace(f'ca_file = "{served.authority.certificate}"\n', ""))
    code, output = run(served, "--write")
    assert code == 1 and "Error" in output and not served.file.exists()
    assert key_pair("new")
