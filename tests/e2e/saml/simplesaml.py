"""Debian's SimpleSAMLphp as a SAML 2.0 identity provider on localhost: a private copy with its own configuration in a temporary folder.

    with simplesaml(tmp_path) as idp:
        idp.serve("http://127.0.0.1:8444/login/saml/sso/metadata", acs, options)
        idp.entity, idp.metadata()

The service provider becomes known while it runs, as an administrator would make it known. People: name and password are the same.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2

from tests.asserting import key_pair
from tests.e2e.gate import free_port

INSTALL = "apt-get install --no-install-recommends simplesamlphp php-cli php-xml php-mbstring php-curl php-sqlite3"
HOME = Path("/usr/share/simplesamlphp")
PEOPLE = {
    "alice": {"uid": ["00u1alice"], "groups": ["support", "everybody"], "mail": ["alice@example.com"]},
    "mallory": {"uid": ["00u9mallory"], "groups": ["marketing"], "mail": ["alice@example.com"]},
}


def missing() -> str | None:
    """What to type where it cannot run; None where it can."""
    return None if HOME.is_dir() and shutil.which("php") else f"SimpleSAMLphp is not installed: {INSTALL}"


class SimpleSaml:
    """A running provider."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.base = f"http://localhost:{port}/simplesaml"
        self.entity = f"http://localhost:{port}/idp"

    def metadata(self) -> bytes:
        with httpx2.Client(trust_env=False, timeout=10) as http:
            answer = http.get(f"{self.base}/saml2/idp/metadata.php")
        assert answer.status_code == 200, answer.text[:2000]
        return answer.content

    def serve(self, entity: str, acs: str, signed_by: bytes | None = None, **options: object) -> None:
        """This service provider may use it from now on; in place of what was said before. `signed_by` (PEM): requests must be signed by it."""
        values: dict[str, object] = {
            "AssertionConsumerService": acs,
            "NameIDFormat": "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
            "simplesaml.nameidattribute": "uid",
            "saml20.sign.response": True,
            "saml20.sign.assertion": True,
            **options,
        }
        if signed_by is not None:
            (self.folder / "cert" / "sp.crt").write_bytes(signed_by)
            values |= {"certificate": "sp.crt", "validate.authnrequest": True}
        processing = "'authproc' => [3 => ['class' => 'saml:AttributeNameID', 'attribute' => 'uid', 'Format' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent']],"
        body = "".join(f"'{name}' => {_php(value)},\n" for name, value in values.items())
        text = f"<?php\n$metadata['{entity}'] = [\n{processing}\n{body}];\n"
        part = self.folder / "metadata" / "part"
        part.write_text(text)
        part.rename(self.folder / "metadata" / "saml20-sp-remote.php")


@contextlib.contextmanager
def simplesaml(folder: Path) -> Iterator[SimpleSaml]:
    """A provider of its own, until the block ends."""
    port = free_port()
    idp = SimpleSaml(folder, port)
    for name in ("cert", "log", "data", "tmp", "metadata", "sessions", "www"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "www" / "simplesaml").symlink_to(HOME / "www")
    private, certificate = key_pair("simplesaml")
    (folder / "cert" / "idp.pem").write_bytes(private)
    (folder / "cert" / "idp.crt").write_bytes(certificate)
    (folder / "config.php").write_text(_config(folder, idp))
    (folder / "authsources.php").write_text(_sources())
    (folder / "metadata" / "saml20-idp-hosted.php").write_text(_hosted(idp))
    (folder / "metadata" / "saml20-sp-remote.php").write_text("<?php\n")
    command = [
        "php",
        "-d",
        f"session.save_path={folder / 'sessions'}",
        "-d",
        "error_reporting=0",
        "-d",
        "opcache.enable=0",
    ]
    with (folder / "php.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "-S", f"localhost:{port}", "-t", str(folder / "www")],
            env={**os.environ, "SIMPLESAMLPHP_CONFIG_DIR": str(folder), "PHP_CLI_SERVER_WORKERS": "2"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _until_it_answers(idp)
        yield idp
    finally:
        # Its workers are children of it, which outlive it.
        os.killpg(process.pid, 15)
        process.wait(10)


def _until_it_answers(idp: SimpleSaml) -> None:
    for _ in range(100):
        with contextlib.suppress(httpx2.HTTPError, AssertionError):
            idp.metadata()
            return
        time.sleep(0.1)
    raise AssertionError("SimpleSAMLphp does not answer:\n" + (idp.folder / "php.log").read_text()[-3000:])


def _config(folder: Path, idp: SimpleSaml) -> str:
    values: dict[str, object] = {
        "baseurlpath": idp.base + "/",
        "certdir": f"{folder}/cert/",
        "loggingdir": f"{folder}/log/",
        "datadir": f"{folder}/data/",
        "tempdir": f"{folder}/tmp",
        "metadatadir": f"{folder}/metadata/",
        "attributenamemapdir": "/etc/simplesamlphp/attributemap/",
        "secretsalt": secrets.token_hex(16),
        "auth.adminpassword": secrets.token_hex(16),
        "technicalcontact_name": "Tests",
        "technicalcontact_email": "na@example.org",
        "timezone": "UTC",
        "admin.protectmetadata": False,
        "admin.checkforupdates": False,
        "enable.saml20-idp": True,
        "logging.handler": "file",
        "module.enable": {"exampleauth": True, "core": True, "saml": True},
        "session.cookie.secure": False,
        "session.cookie.samesite": "Lax",
        "session.phpsession.savepath": f"{folder}/sessions",
        "store.type": "phpsession",
        "metadata.sources": [{"type": "flatfile", "directory": f"{folder}/metadata"}],
    }
    return f"<?php\n$config = {_php(values)};\n"


def _sources() -> str:
    people: dict[object, object] = {0: "exampleauth:UserPass"}
    people |= {f"{name}:{name}": attributes for name, attributes in PEOPLE.items()}
    return f"<?php\n$config = {_php({'people': people})};\n"


def _hosted(idp: SimpleSaml) -> str:
    values = {
        "host": "__DEFAULT__",
        "privatekey": "idp.pem",
        "certificate": "idp.crt",
        "auth": "people",
        "signature.algorithm": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
        "NameIDFormat": "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
    }
    return f"<?php\n$metadata['{idp.entity}'] = {_php(values)};\n"


def _php(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "[" + ", ".join(f"{_php(name)} => {_php(each)}" for name, each in value.items()) + "]"
    if isinstance(value, list):
        return "[" + ", ".join(_php(each) for each in value) + "]"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
