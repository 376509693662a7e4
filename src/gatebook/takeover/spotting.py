"""What looks like a credential, by its name or by its own form. In doubt it is one: a plain text in a file of its own does no harm."""

import math
import re
from collections import Counter
from typing import Final
from urllib.parse import parse_qsl, urlsplit

_NAMED: Final = re.compile(
    r"(?:^|[_\W])(?:api_?key|access_?key|key|token|secret|passw(?:or)?d|passphrase|pass|pwd|pat|credentials?|auth|authorization|bearer|cookie|jwt|dsn)"
    r"(?:$|[_\W])|apikey|accesskey|authtoken|authkey|connection_?string|private_?key|secretkey|password",
    re.IGNORECASE,
)
_NOT_NAMED: Final = re.compile(
    r"(?:path|file|dir|url|host|type|mode|name|user(?:name)?|id|region|header|method|endpoint|ttl|expir\w*|limit|max|min)s?$",
    re.IGNORECASE,
)
"""How a name ends that only speaks of a credential: `KEY_PATH`, `TOKEN_URL`."""

_WORDS: Final = tuple(
    (kind, re.compile(rf"(?<![A-Za-z0-9_-])(?:{pattern})(?![A-Za-z0-9_-])"))
    for kind, pattern in (
        ("github token", r"gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{40,255}"),
        ("gitlab token", r"gl(?:pat|ptt|rt|dt|soat)-[A-Za-z0-9_.-]{20,200}"),
        ("slack token", r"xox[abeoprs]-[A-Za-z0-9-]{10,200}|xapp-[0-9A-Za-z-]{20,200}"),
        ("anthropic key", r"sk-ant-[A-Za-z0-9_-]{20,200}"),
        ("openai key", r"sk-(?:proj-|svcacct-)?[A-Za-z0-9_-]{20,200}"),
        ("stripe key", r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,200}"),
        ("aws key id", r"(?:AKIA|ASIA)[A-Z2-7]{16}"),
        ("google key", r"AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,400}|GOCSPX-[A-Za-z0-9_-]{20,60}"),
        ("npm token", r"npm_[A-Za-z0-9]{36}"),
        ("python index token", r"pypi-[A-Za-z0-9_-]{50,400}"),
        ("hugging face token", r"hf_[A-Za-z0-9]{30,100}"),
        ("notion token", r"ntn_[A-Za-z0-9]{30,100}|secret_[A-Za-z0-9]{40,60}"),
        ("linear key", r"lin_(?:api|oauth)_[A-Za-z0-9]{30,100}"),
        ("figma token", r"figd_[A-Za-z0-9_-]{30,100}"),
        ("sendgrid key", r"SG\.[A-Za-z0-9_-]{16,40}\.[A-Za-z0-9_-]{30,60}"),
        ("shopify token", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
        ("digitalocean token", r"do[opr]_v1_[a-f0-9]{64}"),
        ("atlassian token", r"ATATT3[A-Za-z0-9_=-]{50,300}"),
        ("jwt", r"eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{8,4000}"),
    )
)
KINDS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    *_WORDS,
    ("private key", re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----")),
)
"""Kind → what it looks like, whatever it is called."""

_PLACEHOLDER: Final = re.compile(
    r"(?:<.*>|\$\{?.*|\{\{.*\}\}|%.*%|\*+|x{3,}|\.{3}|(?:your|my|the|insert|replace|enter|put|paste|some)[-_ ].*|.*[-_ ]here"
    r"|change-?me.*|todo.*|(?:api[-_ ]?)?(?:key|token|secret|password)|example.*|dummy.*|none|null|true|false)",
    re.IGNORECASE,
)
_SCHEME: Final = re.compile(
    r"(Bearer|Basic|Token|ApiKey|Api-Key|Key|PAT|OAuth|GenieKey|Splunk|SSWS) +(\S+)", re.IGNORECASE
)
_HARMLESS_HEADERS: Final = frozenset(
    "accept accept-encoding accept-language cache-control connection content-type user-agent".split()
)
_LONG, _SHORTEST, _BITS = 20, 6, 3.3


def names_credential(name: str) -> bool:
    """Whether a variable, an option or a header of that name holds a credential, as far as names tell."""
    spelled = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return bool(_NAMED.search(spelled)) and not _NOT_NAMED.search(spelled)


def harmless_header(name: str) -> bool:
    """Whether a header says only how to speak HTTP: each client sets it by itself."""
    return name.lower() in _HARMLESS_HEADERS or name.lower().startswith("mcp-")


def kind_of(text: str) -> str | None:
    """What kind of credential stands in `text` by its own form, whatever it is called; None where none does."""
    for kind, pattern in KINDS:
        if pattern.search(text):
            return kind
    return "password in a url" if _password_in_url(text) else None


def is_placeholder(text: str) -> bool:
    """Whether a value only says that something belongs there, or stands for it (`${TOKEN}`)."""
    return len(text.strip()) < _SHORTEST or bool(_PLACEHOLDER.fullmatch(text.strip()))


def looks_random(text: str) -> bool:
    """Whether a text without blanks is long and mixed as generated secrets are, and neither a path, a host nor plain words."""
    if len(text) < _LONG or not re.fullmatch(r"[A-Za-z0-9+/=_.~-]+", text):
        return False
    if text.startswith(("/", "./", "../", "~/")) or not (re.search(r"[0-9]", text) and re.search(r"[A-Za-z]", text)):
        return False
    if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text.lower()):
        return False  # an id: of a tenant, a project
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values()) >= _BITS


def is_secret(name: str, value: str) -> bool:
    """Whether what a variable or option `name` holds belongs into a file of its own."""
    if not value:
        return False
    return names_credential(name) or kind_of(value) is not None or looks_random(value)


def secret_in_query(url: str) -> bool:
    """Whether a parameter of the URL's query holds what looks like a credential."""
    try:
        query = urlsplit(url).query
    except ValueError:
        return False
    return any(is_secret(name, value) for name, value in parse_qsl(query))


def split_scheme(value: str) -> tuple[str, str]:
    """(template, secret) of a header's value: its scheme stays, `Bearer {secret}`; without one `{secret}` is the whole."""
    found = _SCHEME.fullmatch(value.strip())
    return (f"{found[1]} {{secret}}", found[2]) if found else ("{secret}", value.strip())


def _password_in_url(text: str) -> bool:
    for found in re.finditer(r"[a-z][a-z0-9+.-]{1,30}://[^\s/@:]{0,200}:([^\s/@]{1,200})@", text, re.IGNORECASE):
        if not is_placeholder(found[1]) or len(found[1]) in range(1, _SHORTEST):
            return True
    return False
