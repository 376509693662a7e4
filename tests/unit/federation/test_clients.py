"""Redirect URIs, metadata documents, registrations, and where a document may be fetched from."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatebook.federation import addresses, documents, redirects
from gatebook.federation.consent import fingerprint, must_ask
from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.known import KNOWN, ClientView
from gatebook.federation.records import Consent
from gatebook.federation.scopes import granted, within
from tests import issuing

URL = "https://client.example/metadata.json"


@pytest.mark.parametrize(
    ("asked", "registered"),
    [
        ("http://localhost:51234/callback", "http://localhost/callback"),
        ("http://127.0.0.1:33418/", "http://127.0.0.1/"),
        ("http://[::1]:9/cb", "http://[::1]:1234/cb"),
        ("http://127.0.0.1:33418", "http://127.0.0.1"),
        ("https://vscode.dev/redirect", "https://vscode.dev/redirect"),
        ("cursor://anysphere.cursor-retrieval/oauth/callback", "cursor://anysphere.cursor-retrieval/oauth/callback"),
    ],
)
def test_real_clients_redirects_match(asked: str, registered: str) -> None:
    assert redirects.matches(("https://other.example/", registered), asked) == registered


@pytest.mark.parametrize(
    ("asked", "registered"),
    [
        ("http://localhost:1/callback", "http://127.0.0.1/callback"),  # another name is another redirect
        ("http://127.0.0.1:1/callback/", "http://127.0.0.1/callback"),
        ("http://127.0.0.1:1/Callback", "http://127.0.0.1/callback"),
        ("http://127.0.0.1:1/callback?x=1", "http://127.0.0.1/callback"),
        ("http://127.0.0.2:1/callback", "http://127.0.0.1/callback"),
        ("https://vscode.dev:444/redirect", "https://vscode.dev/redirect"),
        ("https://vscode.dev/redirect/", "https://vscode.dev/redirect"),
        ("https://vscode.dev.evil.example/redirect", "https://vscode.dev/redirect"),
        ("http://127.0.0.1:99999/callback", "http://127.0.0.1/callback"),
        ("cursor://evil/", "cursor://anysphere.cursor-retrieval/oauth/callback"),
    ],
)
def test_what_differs_in_more_than_a_loopback_port_does_not_match(asked: str, registered: str) -> None:
    assert redirects.matches((registered,), asked) is None


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "vbscript:x", "http://evil.example/cb", "https://a@b.example/",
        "https://b.example/#x", "//b.example/", "https:/b.example", "https://b.example/../x", "https://b.example/%2e%2e/x", "https://b.example/%",
        "https://b.example//x", "https://B.example/", "https://b.example:0/", "https://b.example:70000/", "http://127.1/cb",
        "http://0x7f000001/cb", "http://[::1%25lo]/cb", "http://127.0.0.1\\@evil/cb", "https://b.exa mple/", "evil://x/", "https://bücher.example/",
        "", "x" * 600, "https://", "http://127.0.0.1.evil.example/cb", "https://b.example/\x00", "https://[::1]/cb",
        "cursor://x]/", "cursor://[x/", "vscode://a@b/x", "cursor://x:1/",
    ],
)  # fmt: skip
def test_what_is_no_sound_redirect_is_refused_by_itself(uri: str) -> None:
    assert redirects.redirect_problem(uri) is not None
    assert redirects.matches((uri,), uri) is None, "even where it was registered to the letter"


@given(st.text(max_size=60))
def test_redirects_are_total(text: str) -> None:
    problem = redirects.redirect_problem(text)
    assert problem is None or problem
    assert redirects.matches(("http://127.0.0.1/callback",), text) in (None, "http://127.0.0.1/callback")


def test_the_documents_that_come_with_us_are_sound() -> None:
    for view in KNOWN.values():
        assert documents.is_client_url(view.client_id)
        assert all(redirects.redirect_problem(uri) is None for uri in view.redirect_uris)


@pytest.mark.parametrize(
    "url",
    [
        "http://client.example/m.json", "https://client.example", "https://client.example/", "https://127.0.0.1/m", "https://[::1]/m",
        "https://2130706433/m", "https://0x7f.1/m", "https://client.example:8443/m", "https://a@client.example/m", "https://client.example/m?x",
        "https://client.example/m#x", "https://localhost/m", "https://client.example/../m", "https://CLIENT.example/m", "https://client.example//m",
        "ftp://client.example/m", "https://client.example/%2e%2e/m", "https://client.1/m", "https://client.example./m",
    ],
)  # fmt: skip
def test_a_client_names_itself_by_a_plain_https_url_only(url: str) -> None:
    assert not documents.is_client_url(url)


def document(**changed: Any) -> bytes:
    base = {"client_id": URL, "client_name": "Some client", "redirect_uris": ["http://localhost/callback"]}
    return json.dumps({name: value for name, value in {**base, **changed}.items() if value is not None}).encode()


def test_a_document_gives_a_name_and_redirects_and_nothing_more() -> None:
    view = documents.read_document(
        document(logo_uri="http://169.254.169.254/", client_uri="javascript:x", scope="admin"), URL
    )
    assert view == ClientView(
        client_id=URL, name="Some client", redirect_uris=("http://localhost/callback",), vouched="document"
    )


@pytest.mark.parametrize(
    "raw",
    [
        document(client_id="https://client.example/other.json"), document(client_id=URL + "/"), document(client_id=None), b"[]", b"{", b"\xff",
        document(redirect_uris=["javascript:x"]), document(redirect_uris=None), document(token_endpoint_auth_method="client_secret_post"),
        document(client_secret="x"), document(grant_types=["client_credentials"]), b" " * 17_000, document()[:-1] + b', "client_id": "x"}',
    ],
)  # fmt: skip
def test_a_document_that_is_not_this_clients_own_or_not_sound_is_refused(raw: bytes) -> None:
    with pytest.raises(LoginRefused) as refused:
        documents.read_document(raw, URL)
    assert refused.value.cause is Cause.CLIENT_DOCUMENT


def test_a_name_is_cut_and_holds_nothing_that_is_not_seen() -> None:
    assert documents.read_document(document(client_name="a\u202eb\x00c"), URL).name == "abc"
    assert len(documents.read_document(document(client_name="x" * 500), URL).name) == 60
    assert documents.read_document(document(client_name=None), URL).name == "a program without a name"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "::1", "169.254.169.254", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "255.255.255.255",
        "224.0.0.1", "fd00::1", "fe80::1", "fe80::1%eth0", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::a00:1", "64:ff9b::7f00:1",
        "64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::1", "ff02::1", "2001:db8::1", "192.0.2.1", "198.18.0.1", "::", "localhost", "", "0x7f.1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_of_the_public_internet_is_not_asked(address: str) -> None:
    assert not addresses.is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_a_public_address_is_asked(address: str) -> None:
    assert addresses.is_public(address)


def test_consent_is_asked_again_when_anything_on_the_page_changes() -> None:
    view = ClientView(client_id="c", name="N", redirect_uris=(), vouched="nobody")
    what = fingerprint(view, "http://127.0.0.1:1/cb", "payments", "mcp:payments")
    given = Consent(issuer="i", subject="s", client_id="c", server="payments", what=what, given_at=0)
    assert not must_ask(given, what)
    assert must_ask(None, what)
    renamed = ClientView(client_id="c", name="M", redirect_uris=(), vouched="nobody")
    others = [
        fingerprint(renamed, "http://127.0.0.1:1/cb", "payments", "mcp:payments"),
        fingerprint(view, "http://localhost:1/cb", "payments", "mcp:payments"),
        fingerprint(view, "http://127.0.0.1:1/cb", "orders", "mcp:payments"),
        fingerprint(view, "http://127.0.0.1:1/cb", "payments", "mcp:orders"),
    ]
    assert all(must_ask(given, other) for other in others)


@pytest.mark.parametrize(
    ("asked", "scope"),
    [
        (None, "mcp:payments"), ("", "mcp:payments"), ("mcp:payments", "mcp:payments"), ("openid offline_access", "mcp:payments"),
        ("mcp:payments mcp:orders", "mcp:payments"), ("mcp:orders", None), ("admin", None), ("mcp:payments2", None),
    ],
)  # fmt: skip
def test_a_scope_is_of_its_one_server(asked: str | None, scope: str | None) -> None:
    assert granted(asked, issuing.server("payments")) == scope


def test_a_refresh_asks_for_no_more() -> None:
    assert within(None, "mcp:payments") and within("mcp:payments offline_access", "mcp:payments")
    assert not within("mcp:payments mcp:orders", "mcp:payments")
