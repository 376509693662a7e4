"""Debian's LemonLDAP::NG as a second, independent identity provider (Perl, Lasso) on localhost: a private copy with its own configuration.

    with lemonldap(tmp_path, port, saml=our_metadata): ...
    with lemonldap(tmp_path, port, oidc=our_callback): ...

Its demonstration directory: `dwho` is in the groups users and timelords. Name and password are the same. A later copy in the same folder
goes on with the sessions of the one before.
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2

from tests.asserting import key_pair

INSTALL = (
    "apt-get install --no-install-recommends lemonldap-ng liblasso-perl starman libimage-magick-perl libxml-simple-perl libxml-libxml-perl"
    " libio-string-perl libmime-tools-perl libunicode-string-perl libglib-perl libgd-securityimage-perl libstring-random-perl"
)
HOME = Path("/usr/share/lemonldap-ng")
_NEEDED = (HOME, Path("/usr/bin/starman"), Path("/usr/share/perl5/String/Random.pm"))
CLIENT_ID = "gatebook"
CLIENT_SECRET = "secret-of-gatebook-at-lemonldap"
_APP = """use Plack::Builder;
use Lemonldap::NG::Portal::Main;
use Lemonldap::NG::Portal::UserDB::Demo;
delete @Lemonldap::NG::Portal::UserDB::Demo::demoAccounts{qw(%s)};
builder { mount '/' => Lemonldap::NG::Portal::Main->run({}); };
"""


def missing() -> str | None:
    """What to type where it cannot run; None where it can."""
    return None if all(path.exists() for path in _NEEDED) else f"LemonLDAP::NG is not installed: {INSTALL}"


def entity(port: int) -> str:
    return f"http://localhost:{port}/saml/metadata"


def sso_url(port: int) -> str:
    return f"http://localhost:{port}/saml/singleSignOn"


def issuer(port: int) -> str:
    """As its discovery document says it: with the slash."""
    return f"http://localhost:{port}/"


@contextlib.contextmanager
def lemonldap(
    folder: Path,
    port: int,
    *,
    saml: str | None = None,
    oidc: str | None = None,
    groups: Mapping[str, str] | None = None,
    left: tuple[str, ...] = (),
) -> Iterator[None]:
    """The provider, until the block ends. `saml`: the metadata of a service provider that it knows; `oidc`: the callback of a client that it
    knows. `groups`: groups of the configuration and who is in them, beside those of the directory; `left`: people who are in it no more."""
    for name in ("conf", "sessions/lock", "psessions/lock", "notifications", "cache"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "lemonldap-ng.ini").write_text(
        f"""[all]
logLevel = warn
logger = Lemonldap::NG::Common::Logger::Std
userLogger = Lemonldap::NG::Common::Logger::Std
[configuration]
type = File
dirName = {folder}/conf
[portal]
staticPrefix = /static
templateDir = {HOME}/portal/templates
languages = en
"""
    )
    (folder / "conf" / "lmConf-1.json").write_text(json.dumps(_configuration(folder, port, saml, oidc, groups or {})))
    (folder / "portal.psgi").write_text(_APP % " ".join(left))
    environment = {**os.environ, "LLNG_DEFAULTCONFFILE": str(folder / "lemonldap-ng.ini")}
    with (folder / "portal.log").open("ab") as log:
        process = subprocess.Popen(
            ["starman", "--listen", f"127.0.0.1:{port}", "--workers", "1", str(folder / "portal.psgi")],
            env=environment,
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    try:
        if saml is not None:
            _until_it_answers(folder, entity(port), "IDPSSODescriptor")
        if oidc is not None:
            _until_it_answers(folder, issuer(port) + ".well-known/openid-configuration", "jwks_uri")
        yield
    finally:
        process.terminate()
        process.wait(10)


def _until_it_answers(folder: Path, url: str, word: str) -> None:
    said = ""
    for _ in range(150):
        with contextlib.suppress(httpx2.HTTPError), httpx2.Client(trust_env=False, timeout=10) as http:
            answer = http.get(url)
            if answer.status_code == 200 and word in answer.text:
                return
            said = f"{answer.status_code} {answer.text[:500]}"
        time.sleep(0.1)
    raise AssertionError(f"LemonLDAP::NG does not answer: {said}\n" + (folder / "portal.log").read_text()[-3000:])


def _configuration(
    folder: Path, port: int, saml: str | None, oidc: str | None, groups: Mapping[str, str]
) -> dict[str, Any]:
    files = "Apache::Session::File"

    def storage(name: str) -> dict[str, str]:
        return {"Directory": f"{folder}/{name}", "LockDirectory": f"{folder}/{name}/lock"}

    return {
        "cfgNum": 1, "cfgVersion": "2.16.1", "cfgAuthor": "tests", "cfgDate": "1",
        "portal": f"http://localhost:{port}/", "domain": "localhost", "securedCookie": 0, "cookieName": "lemonldap",
        "key": "0123456789abcdef",
        "authentication": "Demo", "userDB": "Same", "passwordDB": "Null", "registerDB": "Null",
        "demoExportedVars": {"uid": "uid", "mail": "mail", "cn": "cn"}, "exportedVars": {}, "macros": {},
        "groups": {name: " or ".join(f"$uid eq '{each}'" for each in people.split()) for name, people in groups.items()},
        "whatToTrace": "uid", "exportedHeaders": {}, "locationRules": {f"localhost:{port}": {"default": "accept"}},
        "globalStorage": files, "globalStorageOptions": storage("sessions"),
        "persistentStorage": files, "persistentStorageOptions": storage("psessions"),
        "localSessionStorage": "Cache::FileCache",
        "localSessionStorageOptions": {"cache_root": f"{folder}/cache", "namespace": "sessions", "default_expires_in": 600, "cache_depth": 3},
        "notification": 0, "loginHistoryEnabled": 0, "portalDisplayRegister": 0, "checkXSS": 0,
    } | _saml(saml) | _oidc(oidc)  # fmt: skip


def _saml(service_provider: str | None) -> dict[str, Any]:
    if service_provider is None:
        return {}
    private, certificate = key_pair("lemonldap")
    return {
        "issuerDBSAMLActivation": 1,
        "samlServicePrivateKeySig": private.decode(), "samlServicePublicKeySig": certificate.decode(),
        "samlSPMetaDataXML": {"gatebook": {"samlSPMetaDataXML": service_provider}},
        "samlSPMetaDataOptions": {"gatebook": {
            "samlSPMetaDataOptionsNameIDFormat": "persistent", "samlSPMetaDataOptionsSignSSOMessage": 1,
            "samlSPMetaDataOptionsCheckSSOMessageSignature": 1, "samlSPMetaDataOptionsEncryptionMode": "none",
        }},
        "samlSPMetaDataExportedAttributes": {"gatebook": {"uid": "1;uid", "groups": "1;groups", "mail": "0;mail"}},
        "samlSPMetaDataMacros": {"gatebook": {}},
    }  # fmt: skip


def _oidc(callback: str | None) -> dict[str, Any]:
    """A confidential client with PKCE whose ID tokens are signed with RS256 (its default is HS512, which we refuse), and which may ask again
    later. Groups are in the UserInfo response, as it ships."""
    if callback is None:
        return {}
    private, certificate = key_pair("lemonldap")
    option = "oidcRPMetaDataOptions"
    return {
        "issuerDBOpenIDConnectActivation": 1,
        "oidcServicePrivateKeySig": private.decode(), "oidcServicePublicKeySig": certificate.decode(), "oidcServiceKeyIdSig": "key-of-lemonldap",
        "oidcRPMetaDataOptions": {"gatebook": {
            f"{option}ClientID": CLIENT_ID, f"{option}ClientSecret": CLIENT_SECRET, f"{option}RedirectUris": callback,
            f"{option}IDTokenSignAlg": "RS256", f"{option}BypassConsent": 1, f"{option}RequirePKCE": 1, f"{option}AllowOffline": 1,
        }},
        "oidcRPMetaDataOptionsExtraClaims": {"gatebook": {"profile": "groups"}},
        "oidcRPMetaDataExportedVars": {"gatebook": {"name": "cn", "email": "mail", "groups": "groups;string;always"}},
        "oidcRPMetaDataMacros": {"gatebook": {}},
        "oidcRPMetaDataScopeRules": {"gatebook": {}},
    }  # fmt: skip
