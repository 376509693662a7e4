"""gatebook.toml: what it means, and what is refused, where, and in which words."""

from pathlib import Path

import msgspec
import pytest

from gatebook.config import Examined, examine_bytes, load, load_bytes
from gatebook.config.reading import tables
from gatebook.config.schema import Limits as LimitsTable
from gatebook.model.deployment import Deployment, Limits, SecretReference
from gatebook.model.errors import ConfigurationError

EXAMPLE = """
profile    = "pci"
public_url = "https://mcp.example.com"
listen     = ["0.0.0.0:8443", "[::]:8443"]
workers    = 2
data_dir   = "/var/lib/gatebook"
tls        = { certificate = "cert.pem", key = "key.pem" }
allowed_origins = []
trusted_proxies = []
[log]
origin = "mcp.example.com/prod"
key = "log.skey"
[payloads]
public_key = "payloads.pub"
[limits]

[[issuer]]
name = "corp"
url  = "https://idp.example.com/realms/corp"
kind = "person"
token_type = "jwt"
groups_claim = "groups"

[[server]]
name = "payments"
url  = "https://payments.internal:9000/mcp"
ca_file  = "internal-ca.pem"
audience = { corp = "https://mcp.example.com/payments/mcp" }
credential = { header = "Authorization", value = "Bearer {secret}", secret = "file:/run/secrets/payments" }
record = "masked"

[[role]]
name  = "support"
match = [ { issuer = "corp", group = "support" } ]
allow = [ { server = "payments", tools = ["get_order", "list_*"], resources = ["orders://*"], prompts = [], methods = [] } ]
"""
FILES = ("cert.pem", "key.pem", "internal-ca.pem", "log.skey", "payloads.pub")
DEV = """
profile = "dev"
[[issuer]]
name = "corp"
url = "http://127.0.0.1:9999"
kind = "person"
[[server]]
name = "payments"
url = "http://127.0.0.1:9000/mcp"
[[role]]
name = "support"
match = [{ issuer = "corp", group = "support" }]
allow = [{ server = "payments", tools = ["*"] }]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).write_text("")
    return tmp_path / "gatebook.toml"


def examined(text: str, place: Path) -> Examined:
    return examine_bytes(text.encode(), place)


def deployment(text: str, place: Path) -> Deployment:
    return load_bytes(text.encode(), place).deployment


def errors(text: str, place: Path) -> list[str]:
    return [str(problem) for problem in examined(text, place).problems if problem.severity == "error"]


def warnings(text: str, place: Path) -> list[str]:
    return [str(problem) for problem in examined(text, place).problems if problem.severity == "warning"]


def changed(old: str, new: str, text: str = EXAMPLE) -> str:
    assert old in text
    return text.replace(old, new, 1)


def test_the_documented_example_loads_and_means_what_it_says(place: Path) -> None:
    place.write_text(EXAMPLE)
    loaded = load(place)
    found = loaded.deployment
    assert loaded.warnings == ()
    assert loaded.raw == EXAMPLE.encode()
    assert len(loaded.sha256) == 64
    assert (found.profile, found.public_url, found.origin) == ("pci", "https://mcp.example.com", "mcp.example.com/prod")
    assert found.listen == ("0.0.0.0:8443", "[::]:8443")
    assert found.tls_certificate == str(place.parent / "cert.pem")
    [server] = found.servers
    assert server.resource == "https://mcp.example.com/payments/mcp"
    assert server.audiences == {"corp": "https://mcp.example.com/payments/mcp"}
    assert server.credential is not None
    assert server.credential.secret == SecretReference(scheme="file", locator="/run/secrets/payments")
    assert server.credential.template == "Bearer {secret}"
    [role] = found.roles
    assert role.allow[0].tools == ("get_order", "list_*")


def test_a_dev_file_needs_little_and_says_so_loudly(place: Path) -> None:
    found = deployment(DEV, place)
    assert found.listen == ("127.0.0.1:8080",)
    assert found.public_url == "http://127.0.0.1:8080"
    assert found.origin == "localhost/dev"
    assert found.data_dir == str(place.parent / "data")
    assert found.log_key == str(place.parent / "data" / "keys" / "log.skey")
    assert found.payload_public_key == str(place.parent / "data" / "payloads.pub")
    assert found.servers[0].audiences == {"corp": "http://127.0.0.1:8080/payments/mcp"}
    assert found.limits == Limits()
    [loud] = warnings(DEV, place)
    assert "dev profile" in loud


def test_pci_is_the_default_and_has_no_defaults_for_what_must_be_decided(place: Path) -> None:
    found = errors("", place)
    for name in ("public_url", "listen", "data_dir", "log.origin"):
        assert any(words.startswith(name) for words in found), name


def test_every_problem_is_told_at_once_in_the_order_of_the_file(place: Path) -> None:
    text = """
lisen = []
workers = 0
public_url = "mcp.example.com"
[limits]
request_byte = 1
[[issuer]]
name = "corp"
url = "https://idp.example.com"
kind = "person"
[[server]]
name = "oauth"
url = "https://x/mcp"
audiense = "x"
[[server]]
name = "crm"
url = "http://crm/mcp"
[[role]]
name = "r"
match = [
  { issuer = "corp", group = "a" },
  { issuer = "crop", group = "a" },
]
allow = [{ server = "oauth" }, { server = "cmr", tols = [] }, { server = "crm", tools = ["***"] }]
[[role]]
name = "s"
match = [{ issuer = "crop", group = "a" }]
allow = [{ server = "oauth", tools = ["x"] }, { server = "cmr", tools = ["x"] }]
"""
    found = errors(text, place)
    assert [words.partition(": ")[0] for words in found[:8]] == [
        "lisen (line 2)",
        "workers (line 3)",
        "public_url (line 4)",
        "limits.request_byte (line 6)",
        "server[0].name (line 12)",
        "server[0].audiense (line 14)",
        "role[0].allow[1].tols (line 24)",
        "role[0].allow[2].tools[0] (line 24)",
    ]
    assert "did you mean listen?" in found[0]
    assert "did you mean request_bytes?" in found[3]
    assert "did you mean audience?" in found[5]
    assert "did you mean tools?" in found[6]
    # and what only several keys together show, for the tables without a fault of their own
    assert any(words.startswith("server[1].url (line 17): is not encrypted") for words in found)
    assert any(
        words.startswith("role[1].match[0].issuer (line 27)") and "did you mean corp?" in words for words in found
    )
    assert any(
        words.startswith("role[1].allow[1].server (line 28)") and "did you mean crm?" in words for words in found
    )
    # a reference to a faulty table is no second problem
    assert not any("role[1].allow[0]" in words for words in found)
    with pytest.raises(ConfigurationError) as refused:
        load_bytes(text.encode(), place)
    assert list(refused.value.problems) == found


def test_a_key_in_the_wrong_table_is_sent_where_it_belongs(place: Path) -> None:
    [words] = errors(changed("workers    = 2", "segment_bytes = 1048576"), place)
    assert "it belongs into [log]" in words


REFUSED = [
    ('profile    = "pci"', 'profile = "prod"', 'profile (line 2): is none of the words allowed here; write "pci" or "dev"'),
    ('"https://mcp.example.com"\n', '"http://mcp.example.com"\n', "public_url (line 3): is not https"),
    ('"https://mcp.example.com"\n', '"https://mcp.example.com/"\n', "public_url (line 3): has more than scheme, host and port"),
    ('"https://mcp.example.com"\n', '"https://u:p@mcp.example.com"\n', "public_url (line 3): holds a user or password"),
    ('"https://mcp.example.com"\n', '"https://mcp.exämple.com"\n', "public_url (line 3): is no URL"),
    ('"https://mcp.example.com"\n', "7\n", "public_url (line 3): is of the wrong type; write a string in quotes"),
    ('"0.0.0.0:8443"', '"0.0.0.0"', "listen[0] (line 4): has no port"),
    ('"0.0.0.0:8443"', '"0.0.0.0:99999"', "listen[0] (line 4): has no port"),
    ('"0.0.0.0:8443"', '":::8443"', "listen[0] (line 4): has its brackets wrong"),
    ('"0.0.0.0:8443"', '"mcp.example.com:8443"', "listen[0] (line 4): has no address"),
    ('"0.0.0.0:8443"', '"[::]:8443"', "listen (line 4): names one address twice"),
    ('["0.0.0.0:8443", "[::]:8443"]', "[]", "listen (line 4): is empty"),
    ("workers    = 2", "workers = true", "workers (line 5): is of the wrong type; write a whole number"),
    ("workers    = 2", 'workers = "2"', "workers (line 5): is of the wrong type; write a whole number"),
    ("workers    = 2", "workers = 65", "workers (line 5): is out of range; write at most 64"),
    ('tls        = { certificate = "cert.pem", key = "key.pem" }', "", "listen (line 4): listens on the network without TLS"),
    ('"cert.pem"', '"missing.pem"', "tls.certificate: there is no file"),
    ("allowed_origins = []", 'allowed_origins = ["*"]', "allowed_origins[0] (line 8): is no URL"),
    ("allowed_origins = []", 'allowed_origins = ["https://a/"]', "allowed_origins[0] (line 8): is no web origin"),
    ("trusted_proxies = []", 'trusted_proxies = ["0.0.0.0/0"]', "trusted_proxies[0] (line 9): trusts the whole world"),
    ("trusted_proxies = []", 'trusted_proxies = ["10.0.0.1/8"]', "trusted_proxies[0] (line 9): is no address"),
    ('"mcp.example.com/prod"', '"a b+c"', "log.origin (line 11): is no log origin"),
    ('"log.skey"', '"gone.skey"', "log.key (line 12): there is no file"),
    ('"payloads.pub"', '"gone.pub"', "payloads.public_key (line 14): there is no file"),
    ("[limits]", "[limits]\nbody_s = nan", "limits.body_s (line 16): is out of range"),
    ("[limits]", "[limits]\nrequest_bytes = 1e6", "limits.request_bytes (line 16): is of the wrong type"),
    ("[limits]", "[limits]\nbuffered_bytes = 1048576", "limits.buffered_bytes (line 16): is smaller than one message"),
    ("[limits]", "[limits]\nsession_absolute_s = 60", "limits.session_absolute_s (line 16): is shorter than session_idle_s"),
    ('name = "corp"', 'name = "Corp"', "issuer[0].name (line 18): is no name"),
    ('"https://idp.example.com/realms/corp"', '"http://idp.example.com"', "issuer[0].url (line 19): is not https"),
    ('"https://idp.example.com/realms/corp"', '"https://localhost:1"', "issuer[0].url (line 19): is on this machine"),
    ('"https://idp.example.com/realms/corp"', '"https://[::ffff:127.0.0.1]"', "issuer[0].url (line 19): is on this machine"),
    ('kind = "person"\n', "", "issuer[0].kind (line 17): is missing; write kind = …"),
    ('token_type = "jwt"', 'algorithms = ["HS256"]', "issuer[0].algorithms[0] (line 21): is no accepted signature algorithm"),
    ('token_type = "jwt"', 'algorithms = ["none"]', "issuer[0].algorithms[0] (line 21): is no accepted signature algorithm"),
    ('token_type = "jwt"', 'jwks_file = "gone.json"', "issuer corp: jwks_file: there is no file"),
    ('name = "payments"', 'name = "login"', "server[0].name (line 25): is reserved"),
    ('name = "payments"', 'name = ".well-known"', "server[0].name (line 25): is reserved"),
    ('name = "payments"', 'name = "pay_ments"', "server[0].name (line 25): is no name"),
    ('"https://payments.internal:9000/mcp"', '"http://payments.internal/mcp"', "server[0].url (line 26): is not encrypted"),
    ('"https://payments.internal:9000/mcp"', '"https://payments.internal"', "server[0].url (line 26): has no path"),
    ('"https://payments.internal:9000/mcp"', '"unix:payments.sock"', "server[0].url (line 26): is no unix URL"),
    ('"https://payments.internal:9000/mcp"', '"https://p/mcp?api_key=abc"', "server[0].url (line 26): holds what looks like a credential"),
    ('"internal-ca.pem"', '"gone.pem"', "server payments: ca_file: there is no file"),
    ('ca_file  = "internal-ca.pem"', 'client_key = "key.pem"', "server[0].client_key (line 27): stands alone"),
    ("{ corp = ", "{ crop = ", "server[0].audience.crop (line 28): names no issuer of this file; did you mean corp?"),
    ('"Authorization"', '"Content-Length"', "server[0].credential.header (line 29): is a header that the protocol"),
    ('"Authorization"', '"Mcp-Session-Id"', "server[0].credential.header (line 29): is a header that the protocol"),
    ('"Authorization"', '"X-Forwarded-For"', "server[0].credential.header (line 29): is a header that the protocol"),
    ('"Authorization"', '"Host"', "server[0].credential.header (line 29): is a header that the protocol"),
    ('"Authorization"', '"A B"', "server[0].credential.header (line 29): is no header name"),
    ('"Bearer {secret}"', '"Bearer x"', "server[0].credential.value (line 29): must hold {secret} exactly once"),
    ('"Bearer {secret}"', '"Bearer {secret}\\r\\nX: y"', "server[0].credential.value (line 29): is no header value"),
    ('"Bearer {secret}"', '"Bearer sk12345678901 {secret}"', "server[0].credential.value (line 29): holds what looks like a secret"),
    ('"file:/run/secrets/payments"', '"literal:abc"', "server[0].credential.secret (line 29): the secret itself stands"),
    ('"file:/run/secrets/payments"', '"abc"', "server[0].credential.secret (line 29): is no reference to a secret"),
    ('"file:/run/secrets/payments"', '"env:A B"', "server[0].credential.secret (line 29): is no name of an environment variable"),
    ('record = "masked"', 'record = "full"', 'server[0].record (line 30): is none of the words allowed here; write "masked" or "shape"'),
    ('record = "masked"', 'tool = [{ match = ["*"] }]', "server[0].tool[0] (line 30): makes no exception"),
    ('group = "support"', 'grup = "support"', "role[0].match[0].grup (line 34): there is no such key; did you mean group?"),
    (', group = "support"', "", "role[0].match[0] (line 34): matches everybody whom corp knows"),
    ('group = "support"', "claims = {}", "role[0].match[0] (line 34): matches everybody whom corp knows"),
    ('group = "support"', 'claims = { iss = "x" }', "role[0].match[0] (line 34): rests on claims that say nothing"),
    ('group = "support"', "claims = { ref_protected = true }", "role[0].match[0].claims.ref_protected (line 34): is of the wrong type"),
    ('group = "support"', 'group = ""', "role[0].match[0].group (line 34): must be 1 to 1,024 characters"),
    ('server = "payments"', 'server = "payment"', "role[0].allow[0].server (line 35): names no server of this file; did you mean payments?"),
    ('"list_*"', '"list_***"', "role[0].allow[0].tools[1] (line 35): is no glob"),
    ('"orders://*"', '"orders://../*"', "role[0].allow[0].resources[0] (line 35): would match nothing"),
    ("methods = []", 'methods = ["tools/call"]', "role[0].allow[0].methods[0] (line 35): is a method that Gatebook knows"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "words"), REFUSED, ids=[f"{words[:60]}" for _, _, words in REFUSED])
def test_what_cannot_be_is_refused_where_it_stands(old: str, new: str, words: str, place: Path) -> None:
    found = errors(changed(old, new), place)
    referred_to = old in ('name = "corp"', 'name = "payments"')  # then the references to it hang in the air too
    assert len(found) == 1 or referred_to, found
    assert found[0].startswith(words)
    assert "; " in found[0]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"profile = ", "this is no TOML"),
        (b'profile = "pci"\nprofile = "dev"', "this is no TOML"),
        (b"\xff\xfe", "line 1 is no UTF-8"),
        (b"a = " + b"[" * 100_000, "is no TOML|nested too deeply"),
        (b"#" * (1 << 20) + b"#", "larger than 1 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_words(raw: bytes, words: str, place: Path) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load_bytes(raw, place)


@pytest.mark.parametrize(
    ("key", "words"), [("log.skey", "from its shares"), ("payloads.pub", "where its private half")]
)
def test_who_lost_a_key_is_not_told_to_make_another(key: str, words: str, place: Path) -> None:
    """A new one could not go on with the log that is there."""
    text = changed('data_dir   = "/var/lib/gatebook"', f'data_dir   = "{place.parent}"')
    (place.parent / key).unlink()
    assert "make it with `gatebook init`" in errors(text, place)[0]
    (place.parent / "log").mkdir()
    (place.parent / "log/checkpoint").write_text("")
    [said] = errors(text, place)
    assert words in said and "make it with" not in said


def test_a_file_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load(tmp_path / "nowhere.toml")


SECOND = """
[[server]]
name = "crm"
url = "https://crm.internal/mcp"
{audience}
[[role]]
name = "crm"
match = [{{ issuer = "corp", group = "crm" }}]
allow = [{{ server = "crm", tools = ["*"] }}]
"""


@pytest.mark.parametrize("url", ["https://mcp.example.com/payments/mcp", "https://mcp.example.com/crm/mcp"])
def test_two_servers_never_share_an_audience_of_one_issuer(url: str, place: Path) -> None:
    second = SECOND.format(audience=f'audience = {{ corp = "{url}" }}')
    found = errors(
        changed('"https://mcp.example.com/payments/mcp"', '"https://mcp.example.com/crm/mcp"') + second, place
    )
    assert bool(found) == url.endswith("crm/mcp")
    assert all("is also the audience of server payments for issuer corp" in words for words in found)


def test_a_default_audience_counts_when_audiences_are_compared(place: Path) -> None:
    found = errors(
        changed('"https://mcp.example.com/payments/mcp"', '"https://mcp.example.com/crm/mcp"')
        + SECOND.format(audience=""),
        place,
    )
    assert len(found) == 1 and "is also the audience" in found[0]


@pytest.mark.parametrize("section", ["issuer", "server", "role"])
def test_names_are_given_once(section: str, place: Path) -> None:
    start = EXAMPLE.index(f"[[{section}]]")
    table = EXAMPLE[start : EXAMPLE.find("\n\n", start)] if section != "role" else EXAMPLE[start:]
    assert any(f"is the name of another {section} too" in words for words in errors(EXAMPLE + "\n" + table, place))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "methods = [] } ]",
            'methods = [] } ]\n[[role]]\nname = "x"\nmatch = []\nallow = []',
            "is empty",
        ),
        ("prompts = []", 'prompts = ["a[bc]"]', "stand for themselves"),
        ('server = "payments", tools', 'server = "crm", tools', "no role grants anything on it"),
        ('issuer = "corp", group', 'issuer = "ci", group', "no role matches its callers"),
    ],
)
def test_what_is_legal_and_seldom_meant_is_a_warning(old: str, new: str, words: str, place: Path) -> None:
    text = changed(old, new)
    if "crm" in new:
        text += '\n[[server]]\nname = "crm"\nurl = "https://crm/mcp"\n'
    if '"ci"' in new:
        text += '\n[[issuer]]\nname = "ci"\nurl = "https://ci.example"\nkind = "job"\n'
    assert errors(text, place) == []
    assert any(words in found for found in warnings(text, place)), warnings(text, place)


def test_dev_allows_what_pci_refuses_and_says_so(place: Path) -> None:
    text = DEV.replace('/mcp"\n', '/mcp"\ncredential = { secret = "literal:hunter2" }\n').replace(
        'profile = "dev"', 'profile = "dev"\nlisten = ["0.0.0.0:8080"]'
    )
    found = deployment(text, place)
    assert found.public_url == "http://127.0.0.1:8080"
    assert found.servers[0].credential is not None
    assert found.servers[0].credential.secret == SecretReference(scheme="literal", locator="hunter2")
    said = " ".join(warnings(text, place))
    assert "the secret itself stands in the configuration" in said
    assert "cross the network in clear" in said
    assert "hunter2" not in said


def test_unix_sockets_need_no_tls(place: Path) -> None:
    text = changed('tls        = { certificate = "cert.pem", key = "key.pem" }', "")
    text = changed('["0.0.0.0:8443", "[::]:8443"]', '["unix:/run/gatebook.sock"]', text)
    text = changed('"https://payments.internal:9000/mcp"', '"unix:/run/payments.sock:/mcp"', text)
    text = changed('ca_file  = "internal-ca.pem"', "", text)
    assert errors(text, place) == []


def test_a_loopback_issuer_is_accepted_in_pci_where_its_keys_are_a_file(place: Path) -> None:
    (place.parent / "keys.json").write_text("{}")
    text = changed('"https://idp.example.com/realms/corp"', '"https://localhost:1"\njwks_file = "keys.json"')
    assert errors(text, place) == []


def test_tool_exceptions_keep_their_order(place: Path) -> None:
    text = EXAMPLE.replace(
        'record = "masked"\n',
        'record = "masked"\n[[server.tool]]\nmatch = ["pay_*"]\nrecord = "shape"\ncard_numbers = "allow"\n'
        '[[server.tool]]\nmatch = ["*"]\ncard_numbers = "mask"\n',
    )
    rules = deployment(text, place).servers[0].tool_rules
    assert [(rule.tools, rule.record, rule.card_numbers) for rule in rules] == [
        (("pay_*",), "shape", "allow"),
        (("*",), None, "mask"),
    ]


def test_relative_paths_count_from_the_file_s_directory(place: Path) -> None:
    text = changed('"file:/run/secrets/payments"', '"file:secrets/payments"')
    found = deployment(text, place)
    assert found.servers[0].credential is not None
    assert found.servers[0].credential.secret.locator == str(place.parent / "secrets/payments")
    assert found.servers[0].ca_file == str(place.parent / "internal-ca.pem")


def test_limits_are_taken_over(place: Path) -> None:
    found = deployment(changed("[limits]", "[limits]\nrequest_bytes = 2048\ndrain_s = 5"), place)
    assert found.limits == Limits(request_bytes=2048, drain_s=5.0)


def test_every_limit_of_the_model_has_a_key_with_the_same_default() -> None:
    assert set(LimitsTable.model_fields) == {field.name for field in msgspec.structs.fields(Limits)}
    assert Limits(**LimitsTable().model_dump()) == Limits()


def test_every_key_says_what_it_is() -> None:
    for where, table in tables().items():
        for name, field in table.model_fields.items():
            assert field.description and field.description.endswith("."), f"{where} {name}"


SECRET = "sk_live_51Hunter2Zx9"


def places_of_strings() -> list[tuple[str, str]]:
    quoted = EXAMPLE.split('"')[1::2]
    return [
        (f'"{value}"', f'"{spelling}"')
        for value in dict.fromkeys(quoted)
        for spelling in (SECRET, f"\\u0000{SECRET}", f"x://{SECRET}")
    ]


@pytest.mark.parametrize(("old", "new"), places_of_strings())
def test_no_message_repeats_a_value_that_may_be_a_secret_in_the_wrong_place(old: str, new: str, place: Path) -> None:
    paths = {f'"{name}"' for name in FILES} | {'"/var/lib/gatebook"'}
    names = {'"corp"', '"payments"', '"support"'}
    said = " ".join(str(problem) for problem in examined(changed(old, new), place).problems)
    if old not in paths | names:  # paths and names are told: without them nobody finds the place
        assert SECRET not in said


@pytest.mark.parametrize(
    "text",
    [
        f'[[server]]\nname = "a"\nurl = "https://a/mcp"\ncredential = {{ secret = "{SECRET}" }}',
        f'[[server]]\nname = "a"\nurl = "https://a/mcp"\ncredential = "{SECRET}"',
        f'[[server]]\nname = "a"\nurl = "https://a/mcp"\ncredential = {{ value = "{SECRET}", secret = "literal:{SECRET}" }}',
        f'[[server]]\nname = "a"\nurl = "https://u:{SECRET}@a/mcp"',
        f'[[server]]\nname = "a"\nurl = "https://a/mcp?token={SECRET}"',
        f'credential = {{ secret = "{SECRET}" ',
        f"credential = {{ secret = {SECRET} }}",
        f'credential = "{SECRET}',
        f'"{SECRET}" "{SECRET}"',
    ],
)
def test_a_secret_in_a_broken_file_is_not_repeated(text: str, place: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_bytes(text.encode(), place)
    assert SECRET not in str(refused.value)
    assert "Hunter2" not in repr(refused.value)


ODD_VALUES = ['""', "1", "true", "[]", "{}", "[[]]", "[{}]", "[1]", "nan", "-1", "1979-05-27", '"x"', "{ a = 1 }"]


@pytest.mark.parametrize("odd", ODD_VALUES)
def test_reading_is_total_whatever_stands_where(odd: str, place: Path) -> None:
    rows = EXAMPLE.splitlines()
    for number, row in enumerate(rows):
        if "=" in row:
            text = "\n".join([*rows[:number], f"{row.partition('=')[0]} = {odd}", *rows[number + 1 :]])
            assert isinstance(examined(text, place), Examined)
    for section in ("issuer", "server", "role", "log", "tls", "limits", "payloads"):
        assert isinstance(examined(f"{section} = {odd}\n", place), Examined)
