"""JSON numbers stay numbers, of the same form, without a valid check digit."""

import json

import pytest

from gatebook.masking import Secrets, inspect_arguments, mask, mask_text
from gatebook.masking.networks import luhn_valid

FORMS = [
    (b"4111111111111111", b"4111110000001111"),
    (b"-4111111111111111", b"-4111110000001111"),
    (b"4111111111111111.0", b"4111110000001111.0"),
    (b"4111111111111111.00", b"4111110000001111.00"),
    (b"4.111111111111111e15", b"4.111110000001111e15"),
    (b"4.111111111111111E+15", b"4.111110000001111E+15"),
    (b"41111111111111110e-1", b"41111100000011110e-1"),
    (b"0.4111111111111111e16", b"0.4111110000001111e16"),
    (b"-0.0004111111111111111E+19", b"-0.0004111110000001111E+19"),
    (b"0.41111111181e16", b"0.41111100000e16"),
    (b"4111111111111111." + b"0" * 45, b"4111110000001111." + b"0" * 45),
    (b"4111111111111111" + b"0" * 300 + b"e-300", b"4111110000001111" + b"0" * 300 + b"e-300"),
    (b"378282246310005", b"378282000000005"),
    (b"30569309025904", b"30569300005904"),
    (b"6205500000000000004", b"6205500000000010004"),
]  # published test numbers: Visa, Amex, Diners, UnionPay


@pytest.mark.parametrize(("token", "expected"), FORMS)
def test_a_number_keeps_its_form_and_loses_its_middle(token: bytes, expected: bytes) -> None:
    result = mask(b'{"n":%b}' % token)
    assert result.body == b'{"n":%b}' % expected
    digits = str(abs(int(float(expected) if b"e" in expected.lower() else int(expected.split(b".")[0])))).encode()
    assert not luhn_valid(digits)
    assert type(json.loads(result.body)["n"]) is type(json.loads(token))


@pytest.mark.parametrize(("token", "expected"), FORMS)
def test_a_masked_number_is_left_alone_and_refused_as_an_argument(token: bytes, expected: bytes) -> None:
    body = b'{"card_number":%b}' % expected
    assert mask(body).body is body
    assert [(found.detector, found.action, found.pointer) for found in inspect_arguments(body)] == [
        ("own_mask", "found", "/card_number")
    ]


def test_thirteen_digits_count_only_under_a_card_key_and_show_four() -> None:
    body = b'{"id":4222222222222}'
    assert mask(body).body is body
    assert mask(b'{"card":{"no":4222222222222}}').body == b'{"card":{"no":1000000002222}}'


def test_a_key_that_says_card_number_needs_no_check_digit() -> None:
    assert mask(b'{"card_number":4111111111111112}').body == b'{"card_number":4111110000001112}'
    body = b'{"order":4111111111111112}'
    assert mask(body).body is body


@pytest.mark.parametrize(
    "key", ["cvv", "CVV2", "cvc", "cardCvv", "card_security_code", "securityCode", "csc", "código de seguridad"]
)
def test_a_code_becomes_zero(key: str) -> None:
    for value, expected in (
        ("123", b"0"),
        ("7", b"0"),
        ("1234", b"0"),
        ("123.0", b"0.0"),
        ("12340e-1", b"0.0"),
        ("1e2", b"0.0"),
        ("0.123e3", b"0.0"),
    ):
        assert mask(f'{{"{key}":{value}}}'.encode()).body == f'{{"{key}":'.encode() + expected + b"}"


@pytest.mark.parametrize("key", ["cvv_result", "cvvMatch", "cvc_check", "security", "code", "discover", "cvv_attempts"])
def test_a_key_about_codes_keeps_its_number(key: str) -> None:
    body = f'{{"{key}":123}}'.encode()
    assert mask(body).body is body


def test_a_secret_in_a_number_leaves_a_zero_of_its_type() -> None:
    for token, expected in ((b"98765432109", b"0"), (b"98765432109.5", b"0.0"), (b"98765432109E1", b"0.0")):
        assert mask(b'{"a":%b}' % token, Secrets((b"98765432109",))).body == b'{"a":%b}' % expected


def test_a_cid_and_a_pin_depend_on_their_neighbours() -> None:
    assert mask(b'{"cid":1234,"card":"x"}').body == b'{"cid":0,"card":"x"}'
    assert mask(b'{"pin":1234}').body == b'{"pin":0}'
    for body in (
        b'{"cid":1234,"name":"x"}',
        b'{"pin":560001,"city":"Bengaluru"}',
        b'{"gpio":1,"pin":4000}',
        b'{"pin":12}',
    ):
        assert mask(body).body is body


def test_fractions_and_large_integers_are_no_card_numbers() -> None:
    body = b"[0.5309136012499991,1.7976931348623157e308,123456789012345678901234567890,4111111111111111.5,1e16,4.1e15]"
    assert mask(body).body is body


@pytest.mark.parametrize(
    "body", [b"[41111111181e5]", b"[4.1111111181e15]", b'["[\\n41111111181e5\\n]"]', b'{"n":41111111181E+5}']
)
def test_a_number_of_few_digits_and_an_exponent_is_found(body: bytes) -> None:
    masked = mask(body)
    assert [found.detector for found in masked.findings] == ["pan"] and b"1181" not in masked.body


def test_a_digest_that_a_card_number_reaches_into_spares_no_other() -> None:
    """Masked, it would be a digest no longer: the number that it spared would be found by whoever looks next."""
    digest = "a4111111111111111bcdefabcdefabcd589562929583"  # 44 and the four before are 48, as long as a digest
    assert mask_text(f"x 1111{digest} y") == (f"x 1111{digest} y", ())
    masked, findings = mask_text(f"x 1111{digest}\t1575 y")
    assert masked == "x 1111a411111******1111bcdefabcdefabcd589562******\t1575 y" and len(findings) == 2
    assert mask_text(masked) == (masked, ())
