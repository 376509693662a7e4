"""What one value of the configuration must look like. Each function gives the value back, or refuses it in words that do not repeat it."""

import ipaddress
import re
import unicodedata
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic_core import PydanticCustomError

from gatebook.federation.redirects import redirect_problem
from gatebook.policy.globs import glob_problem
from gatebook.policy.methods import KINDS
from gatebook.policy.uris import suspicious_uri

RESERVED: Final = frozenset({".well-known", "desk", "oauth", "login", "healthz", "readyz", "metrics", "log"})
ALGORITHMS: Final = frozenset("RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519".split())
LITERAL: Final = "literal:"

_NOT_OURS: Final = frozenset(
    "accept accept-encoding connection content-encoding content-length content-type date expect forwarded gatebook-call-id host keep-alive"
    " last-event-id origin proxy-authenticate proxy-authorization proxy-connection te trailer traceparent tracestate baggage"
    " transfer-encoding upgrade via".split()
)
_NOT_OURS_PREFIXES: Final = ("mcp-", "gatebook-", "x-forwarded-", "sec-")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_SERVER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_ROLE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_CREDENTIAL_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_ACCOUNT: Final = re.compile(r"([a-z_][a-z0-9_-]{0,31}|[1-9][0-9]{0,8}|0)(:([a-z_][a-z0-9_-]{0,31}|[1-9][0-9]{0,8}))?")
_URL_TEXT: Final = re.compile(r"[!-~]+")
_SECRET_PARAMETER: Final = re.compile(r"key|token|secret|passw|auth|sig", re.IGNORECASE)


def fault(what: str, mend: str) -> PydanticCustomError:
    """What is wrong with a value and how to mend it, neither repeating it."""
    return PydanticCustomError("gatebook", "{what}", {"what": what, "mend": mend})


def text(value: str) -> str:
    """Non-empty, printable, at most 1,024 characters."""
    if not value or len(value) > 1024 or any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise fault("must be 1 to 1,024 characters, none of them a control character", "correct the text")
    return value


def path(value: str) -> str:
    if not value or "\0" in value or len(value) > 4096:
        raise fault("is no path", "write an absolute path, or one relative to this file's directory")
    return value


def server_name(value: str) -> str:
    if value in RESERVED:
        raise fault("is reserved for the gate itself", "choose another name")
    if not _SERVER_NAME.fullmatch(value):
        raise fault("is no name", "use lower-case letters, digits and `-`, at most 63, not beginning with `-`")
    return value


def role_name(value: str) -> str:
    if not _ROLE_NAME.fullmatch(value):
        raise fault("is no name", "use letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or digit")
    return value


def glob(value: str) -> str:
    if why := glob_problem(value):
        raise fault(
            f"is no glob: it {why}", "`*` stands for anything up to a `/`, `**` for anything; all else is literal"
        )
    return value


def uri_glob(value: str) -> str:
    if why := suspicious_uri(glob(value)):
        raise fault(f"would match nothing: URIs with {why} are refused", "write the URI as the server means it")
    return value


def method_glob(value: str) -> str:
    if glob(value) in KINDS:
        raise fault(
            "is a method that Gatebook knows, and grants nothing here",
            "grant its object under tools, resources or prompts; methods = [] is for extensions",
        )
    return value


def origin(value: str) -> str:
    """A signed note's key name (C2SP signed-note): no white space, no plus."""
    if not re.fullmatch(r"[!-*,-~]{1,200}", value):
        raise fault(
            "is no log origin",
            "use up to 200 printable ASCII characters without spaces and `+`, as in mcp.example.com/prod",
        )
    return value


def public_url(value: str) -> str:
    parts = _split(value, ("https", "http"))
    if parts.path or parts.query or parts.fragment or value.endswith(("?", "#")):
        raise fault(
            "has more than scheme, host and port", "write it like https://mcp.example.com, without a slash at the end"
        )
    return value


def issuer_url(value: str) -> str:
    parts = _split(value, ("https", "http"))
    if parts.query or parts.fragment or value.endswith(("?", "#")):
        raise fault("has a query or a fragment", "write the issuer as it stands in the tokens' `iss`")
    return value


def provider_id(value: str) -> str:
    """An issuer URL, or a SAML entity id: any URI without blanks, at most 1,024 characters (SAML core §8.3.6)."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]{1,1000}", value):
        raise fault("is no URI", "write the issuer, or the entity id, exactly as the provider says it")
    return value


def client_id(value: str) -> str:
    """RFC 6749 §2.2 and appendix A.1: visible ASCII. Not a URL: such a client is known by its document, not by a table."""
    if not re.fullmatch(r"[!-~]{1,200}", value) or value.startswith(("https:", "http:")):
        raise fault("is no client id", "use up to 200 visible ASCII characters, not a URL")
    return value


def redirect_uri(value: str) -> str:
    if why := redirect_problem(value):
        raise fault(f"is no redirect URI to rely on: it {why}", "write https://…, or http:// to a loopback address")
    return value


def server_url(value: str) -> str:
    if value.startswith("unix:"):
        if not re.fullmatch(r"unix:/[^:\x00-\x20]+:/[!-~]*", value):
            raise fault("is no unix URL", "write it like unix:/run/payments.sock:/mcp")
        return value
    parts = _split(value, ("https", "http"))
    if parts.fragment or value.endswith("#"):
        raise fault("has a fragment", "remove it")
    if not parts.path:
        raise fault("has no path", "write the whole endpoint, as in https://payments.internal:9000/mcp")
    return value


def holds_secret_parameter(url: str) -> bool:
    """Whether a query parameter of `url` looks like a credential."""
    return any(_SECRET_PARAMETER.search(name) and value for name, value in parse_qsl(urlsplit(url).query))


def web_origin(value: str) -> str:
    parts = _split(value, ("https", "http"))
    if parts.path or parts.query or parts.fragment or value != value.lower() or value.endswith(("?", "#")):
        raise fault(
            "is no web origin", "write scheme, host and port in lower case, as browsers send it; there are no wildcards"
        )
    return value


def web_url(value: str) -> str:
    """Where a browser may be sent."""
    if _split(value, ("https", "http")).fragment or value.endswith("#"):
        raise fault("has a fragment", "write the URL without it")
    return value


def https_url(value: str) -> str:
    """Where something may be fetched that will be believed."""
    if _split(value, ("https",)).fragment or value.endswith("#"):
        raise fault("has a fragment", "write the URL without it")
    return value


def collector_url(value: str) -> str:
    parts = _split(value, ("https", "http"))
    if parts.fragment or value.endswith("#") or not parts.path.strip("/"):
        raise fault("is no endpoint", "write it whole, as in https://collector.example.com:4318/v1/traces")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise fault("crosses the network in clear", "write https://, or send to a collector on this machine")
    return value


def listen(value: str) -> str:
    if value.startswith("unix:"):
        if not re.fullmatch(r"unix:/[^\x00]+", value) or len(value) > 112:
            raise fault("is no socket path", "write it like unix:/run/gatebook.sock; the system allows 107 characters")
        return value
    host, _, port = value.rpartition(":")
    if not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65_536):
        raise fault("has no port between 1 and 65535", "write HOST:PORT, [IPV6]:PORT or unix:/path")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        if host == "localhost":
            return value
        raise fault("has no address to listen on", "write an IP address, as in 127.0.0.1:8080 or [::]:8443") from None
    if (address.version == 6) != (bare != host):
        raise fault("has its brackets wrong", "IPv6 addresses stand in brackets, IPv4 addresses do not")
    return value


def host_of(listening: str) -> str:
    """The host of a `listen` value that is no socket, without brackets."""
    return listening.rpartition(":")[0].strip("[]")


def is_loopback(host: str) -> bool:
    """Whether `host` names this machine only, as far as its spelling tells."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def network(value: str) -> str:
    try:
        found = ipaddress.ip_network(value)
    except ValueError:
        raise fault(
            "is no address or network", "write an IP address or CIDR, as in 10.0.0.0/8, with no bits beyond the prefix"
        ) from None
    if found.prefixlen == 0:
        raise fault("trusts the whole world", "name the proxies' own addresses")
    return value


def algorithm(value: str) -> str:
    if value not in ALGORITHMS:
        raise fault("is no accepted signature algorithm", f"use asymmetric ones: {', '.join(sorted(ALGORITHMS))}")
    return value


def header(value: str) -> str:
    name = value.lower()
    if not _TOKEN.fullmatch(value):
        raise fault("is no header name", "write a name like Authorization or X-Api-Key")
    if name in _NOT_OURS or name.startswith(_NOT_OURS_PREFIXES):
        raise fault("is a header that the protocol or the gate itself sets", "put the credential into another header")
    return value


def template(value: str) -> str:
    if value.count("{secret}") != 1:
        raise fault(
            "must hold {secret} exactly once", 'write it like "Bearer {secret}"; the secret itself is named by `secret`'
        )
    if not re.fullmatch(r"[ -~]+", value) or value != value.strip():
        raise fault("is no header value", "use printable ASCII, without spaces at either end")
    return value


def looks_literal(value: str) -> bool:
    """Whether a header template holds, beside `{secret}`, something that looks like a secret itself."""
    rest = value.replace("{secret}", " ")
    return any(len(word) >= 12 and re.search(r"[0-9]", word) for word in re.split(r"[\s,;]+", rest))


def secret(value: str) -> str:
    scheme, colon, locator = value.partition(":")
    if not colon or scheme not in ("file", "env", "credential", "literal") or not locator:
        mend = "write file:PATH, credential:NAME or env:NAME (in dev also literal:VALUE)"
        raise fault("is no reference to a secret", mend)
    if scheme == "credential" and not _CREDENTIAL_NAME.fullmatch(locator):
        raise fault("is no name of a credential", "write credential:NAME, letters, digits, `.`, `_` and `-`")
    if scheme == "env" and not _ENV_NAME.fullmatch(locator):
        raise fault("is no name of an environment variable", "write env:NAME, letters, digits and `_`")
    if scheme == "file":
        path(locator)
    if scheme == "literal" and not re.fullmatch(r"[!-~]([ -~]*[!-~])?", locator):
        raise fault("could not stand in a header", "use printable ASCII, without spaces at either end")
    return value


def account(value: str) -> str:
    """A user of the system, or its number, and after a colon its group."""
    if not _ACCOUNT.fullmatch(value):
        raise fault("is no user", "write a user's name or number, or USER:GROUP")
    return value


def variable(value: str) -> str:
    if not _ENV_NAME.fullmatch(value):
        raise fault("is no name of an environment variable", "use letters, digits and `_`")
    return value


def argument(value: str) -> str:
    """What a program can be given as argument or variable: no null character."""
    if "\0" in value or len(value) > 32_768:
        raise fault("cannot be given to a program", "remove null characters, and use at most 32,768 characters")
    return value


def postgresql_url(value: str) -> str:
    """`postgresql://USER@HOST:PORT/NAME` with a host, or with `?host=/FOLDER` of a Unix socket; no password, and nothing that weakens TLS."""
    mend = "write postgresql://USER@HOST:PORT/NAME, or postgresql://USER@/NAME?host=/FOLDER for a Unix socket"
    try:
        parts = urlsplit(value)
        sound = bool(_URL_TEXT.fullmatch(value)) and "\\" not in value and parts.port != 0
        pairs = parse_qsl(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise fault("is no URL of the kind wanted", mend) from None
    asked = dict(pairs)
    if len(asked) != len(pairs):
        raise fault("holds a parameter that is given twice", "keep one of them")
    if parts.password is not None or "password" in asked:
        raise fault("holds a password", "remove it; desk.database_password says where it lies")
    socket = asked.get("host", "")
    if not sound or parts.scheme != "postgresql" or not parts.username or not parts.path.strip("/") or parts.fragment:
        raise fault("is no URL of the kind wanted", mend)
    if bool(parts.hostname) == bool(socket) or "," in parts.netloc + socket or (socket and not socket.startswith("/")):
        raise fault("names no host, or two", mend)
    if asked.get("sslmode", "verify-full") != "verify-full":
        raise fault("weakens TLS", "remove sslmode: beyond this machine the server's name is always verified")
    if unknown := asked.keys() - {"host", "sslmode", "sslrootcert"}:
        raise fault(f"holds {len(unknown)} parameter(s) that are not known", "host, sslmode and sslrootcert are")
    return value


def _split(value: str, schemes: tuple[str, ...]) -> SplitResult:
    """The URL's parts. Refused: other schemes, no host, user or password, what is not printable ASCII."""
    try:
        parts = urlsplit(value)
        sound = bool(_URL_TEXT.fullmatch(value)) and "\\" not in value and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound, parts = False, SplitResult("", "", "", "", "")
    if not sound or parts.scheme not in schemes or not value.startswith(f"{parts.scheme}://"):
        raise fault(
            "is no URL of the kind wanted",
            f"begin with {' or '.join(f'{scheme}://' for scheme in schemes)}, then a host",
        )
    if "@" in parts.netloc:
        raise fault("holds a user or password", "remove it; credentials are named by `credential`")
    return parts
