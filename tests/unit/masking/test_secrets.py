"""Live secrets are redacted in every spelling a server might echo."""

import base64
import json
import pickle
import re
from urllib.parse import quote

import pytest

from gatebook.masking import MaskingFailed, Secrets, is_clean, mask, mask_text
from gatebook.masking.patterns import compiled

VALUE = 's3cr€t/"tok+en\\?x'
SECRETS = Secrets((VALUE.encode(), b"plain-token-1234"))
NOTE = "[secret redacted]"


@pytest.mark.parametrize(
    "spelling",
    [
        VALUE,
        json.dumps(VALUE)[1:-1],
        json.dumps(VALUE, ensure_ascii=False)[1:-1],
        quote(VALUE),
        quote(VALUE, safe=""),
        quote(VALUE, safe="").lower(),
        "plain-token-1234",
    ],
)
def test_a_secret_is_redacted_in_leaves_keys_and_bare_text(spelling: str) -> None:
    text, findings = mask_text(f"Bearer {spelling}!", SECRETS)
    assert text == f"Bearer {NOTE}!"
    assert [(found.detector, found.action) for found in findings] == [("secret", "redacted")]
    for ascii_only in (True, False):
        body = json.dumps({"a": [f"x{spelling}y"], spelling: 1}, ensure_ascii=ascii_only).encode()
        assert json.loads(mask(body, SECRETS).body) == {"a": [f"x{NOTE}y"], NOTE: 1}


UNRESERVED = "-._~"
ENCODERS = {  # what each leaves as it is, of what need not be encoded everywhere
    "Python's quote": UNRESERVED + "/",
    "Go's url.PathEscape": UNRESERVED + "$&+=:@",
    "JavaScript's encodeURIComponent": UNRESERVED + "!'()*",
    "JavaScript's encodeURI": UNRESERVED + ";,/?:@&=+$!'()*#",
    "URLSearchParams": "-._*",
    "curl": UNRESERVED,
    "all": "",
}
PASSWORD = "kX9?v#Q/1&2=3+4~5 p@ss!(7)*'x',é"


def percent_encoded(value: str, bare: str, *, letters: bool = True) -> str:
    return "".join(
        chr(byte) if chr(byte) in bare or (letters and chr(byte).isascii() and chr(byte).isalnum()) else f"%{byte:02X}"
        for byte in value.encode()
    )


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_secret_is_redacted_whatever_an_encoder_leaves_as_it_is(encoder: str) -> None:
    secrets = Secrets((PASSWORD.encode(),))
    spelling = percent_encoded(PASSWORD, ENCODERS[encoder])
    lower = re.sub("%..", lambda encoded: encoded.group().lower(), spelling)
    for text in (spelling, lower, spelling.replace("%20", "+")):
        url = f"https://x.example/?key={text}&other"
        assert mask_text(url, secrets)[0] == f"https://x.example/?key={NOTE}&other"
        assert json.loads(mask(json.dumps([url]).replace("%", "\\u0025").encode(), secrets).body)[0].count(NOTE) == 1


def test_a_secret_of_which_every_byte_is_encoded_is_redacted() -> None:
    spelling = percent_encoded(VALUE, "", letters=False)
    assert mask_text(f"x{spelling}y{spelling.lower()}z", SECRETS)[0] == f"x{NOTE}y{NOTE}z"
    assert not is_clean(spelling.encode(), SECRETS)


def test_a_secret_that_begins_with_another_one_is_taken_whole() -> None:
    secrets = Secrets((b"token", b"token/12"))
    assert mask_text("a token%2F12 b token%2F1", secrets)[0] == f"a {NOTE} b {NOTE}%2F1"


@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_at_every_alignment_takes_the_whole_token_with_it(before: str, encode: object) -> None:
    assert callable(encode)
    token = encode(f"{before}{VALUE}:tail".encode()).decode()
    assert mask_text(f"Basic {token} end", SECRETS)[0] == f"Basic {NOTE} end"


def test_escapes_do_not_hide_a_secret() -> None:
    escaped = "".join(f"\\u{ord(char):04x}" for char in "plain-token-1234")
    assert json.loads(mask(f'["{escaped}"]'.encode(), SECRETS).body) == [NOTE]
    assert json.loads(mask(b'["s3cr\\u20acT no"]', SECRETS).body) == ["s3cr€T no"]


def test_binary_leaves_are_searched_for_secrets_too() -> None:
    blob = base64.b64encode(b"x" * 60 + VALUE.encode() + b"y" * 60).decode()
    assert json.loads(mask(json.dumps({"data": blob}).encode(), SECRETS).body) == {"data": NOTE}


def test_a_secret_made_of_digits_is_redacted_in_numbers() -> None:
    assert mask(b'{"a":98765432109,"b":"98765432109"}', Secrets((b"98765432109",))).body == (
        b'{"a":0,"b":"[secret redacted]"}'
    )


def test_two_keys_that_hold_one_secret_each_refuse_the_message() -> None:
    with pytest.raises(MaskingFailed):
        mask(json.dumps({"plain-token-1234": 1, VALUE: 2}).encode(), SECRETS)


def test_a_document_without_them_goes_on_as_the_same_object() -> None:
    body = b'{"text":"plain-token-123"}'
    assert mask(body, SECRETS).body is body


@pytest.mark.parametrize("joined", [0, 16], ids=["in one pass", "in a pass of their own"])
def test_many_sets_of_secrets_each_find_their_own(joined: int) -> None:
    others = [Secrets((f"other-secret-{n:04}".encode(),)) for n in range(joined)]
    body = b'{"text":"other-secret-0003 and fresh-secret-1"}'
    for secrets in others:
        mask(body, secrets)
    fresh = Secrets((b"fresh-secret-1",))
    assert json.loads(mask(body, fresh).body) == {"text": f"other-secret-0003 and {NOTE}"}
    assert [mask(body, secrets).body != body for secrets in others] == [n == 3 for n in range(joined)]


def test_the_sketch_of_long_secrets_is_short_and_each_of_their_spellings_holds_one() -> None:
    value = b"".join(b"%x/" % (n * n) for n in range(2000))
    secrets = Secrets((value,))
    assert secrets.trigger is not None and secrets.sketch is not None
    assert len(secrets.sketch) < 4_000 < len(secrets.trigger)
    for spelling in (
        value,
        quote(value, safe="").encode(),
        value.replace(b"/", b"\\/"),
        base64.b64encode(b"ab" + value),
    ):
        assert secrets.positions(spelling) and compiled(secrets.sketch).search(spelling)
    assert compiled(secrets.sketch).search(b"no 4/9/10/19/24/31/40/51/64/79/90") is None


@pytest.mark.slow
def test_a_secret_as_large_as_a_file_is_found_too() -> None:
    secret = base64.b64encode(bytes(n * n % 251 for n in range(24_000)))
    assert mask(b'"%b"' % secret, Secrets((secret,))).body == b'"%b"' % NOTE.encode()
    assert not is_clean(secret, Secrets((secret,)))


def test_only_what_is_short_and_clean_is_remembered_and_not_much_of_it() -> None:
    secrets = Secrets((b"plain-token-1234",))
    for number in range(1000):
        assert is_clean(b"W/%d" % number, secrets)
    held = [text for text in (b"W/%d" % n for n in range(1000)) if secrets.known_clean(text)]
    assert held and len(held) <= 256
    for text in (b"x" * 100, b"4111111111111111", b"plain-token-1234"):
        is_clean(text, secrets)
        mask_text(text.decode(), secrets)
        assert not secrets.known_clean(text)
    assert not Secrets((b"W/999",)).known_clean(b"W/999") and not is_clean(b"W/999", Secrets((b"W/999",)))


def test_secrets_do_not_show_themselves() -> None:
    assert repr(SECRETS) == str(SECRETS) == f"{SECRETS}" == "Secrets(***)"
    with pytest.raises(TypeError):
        pickle.dumps(SECRETS)
    with pytest.raises(ValueError, match="empty"):
        Secrets((b"",))
    assert not Secrets() and SECRETS
