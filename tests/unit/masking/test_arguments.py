"""What a client sends: nothing is changed, everything is named."""

import json

import pytest

from gatebook.masking import MaskingFailed, Secrets, inspect, inspect_arguments, is_clean, mask

PAN = "4111111111111111"  # Visa's published test number


def found(arguments: object) -> list[tuple[str, str]]:
    findings = inspect_arguments(json.dumps(arguments).encode())
    assert all(finding.action == "found" for finding in findings)
    return [(finding.detector, finding.pointer) for finding in findings]


def test_card_data_is_named_by_its_pointer() -> None:
    assert found({"customer": {"card": [PAN]}, "cvv": "123", "amount": 12}) == [
        ("pan", "/customer/card/0"),
        ("cvv", "/cvv"),
    ]
    assert found({PAN: 1}) == [("pan", "")]
    assert found({"sql": f"select * from t where pan = '{PAN}'"}) == [("pan", "/sql")]


@pytest.mark.parametrize(
    "ours",
    ["411111******1111", "4111 11** **** 1111", "4111-11**-****-1111", "378282*****0005", "3782 82**** *0005",
     "305693****5904", "*********2222", "card 411111******1111!", "[cvv removed]", "x [track removed] y", "[secret redacted]"],
)  # fmt: skip
def test_our_masks_are_recognised_when_they_come_back(ours: str) -> None:
    assert found({"note": ours}) == [("own_mask", "/note")]
    assert found({"rows": json.dumps([ours])}) == [("own_mask", "/rows")]


@pytest.mark.parametrize(
    "text", ["************1111", "****1111", "a ** b", "2 * 3 * 4", "**bold 1234**", "411111xxxxxx1111", "*" * 40]
)
def test_stars_of_others_pass(text: str) -> None:
    assert found({"note": text}) == []


def test_a_key_in_the_form_of_our_mask_is_named_by_its_parent() -> None:
    assert found({"totals": {"411111******1111": 1}}) == [("own_mask", "/totals")]


def test_what_masking_wrote_is_recognised_whole() -> None:
    content = {"a": PAN, "n": int(PAN), "t": ";4111111111111111=29122010000000000?", PAN: [float(PAN)]}
    masked = mask(json.dumps(content).encode())
    assert len(inspect_arguments(masked.body)) == len(masked.findings) == 5


def test_clean_arguments_pass_and_broken_ones_are_refused() -> None:
    assert found({"query": "orders of 2026", "limit": 10}) == []
    with pytest.raises(MaskingFailed):
        inspect_arguments(b'{"a":"4111111111111111"')


def test_one_look_tells_what_a_request_must_not_hold_and_what_may_be_recorded_of_it() -> None:
    body = json.dumps({"note": "411111******1111", "card": PAN, "auth": "plain-token-1234"}).encode()
    both = inspect(body, Secrets((b"plain-token-1234",)))
    assert [(found.detector, found.pointer) for found in both.findings] == [("own_mask", "/note"), ("pan", "/card")]
    assert [found.detector for found in both.masked.findings] == ["pan", "secret"]
    assert PAN.encode() not in both.masked.body and b"plain-token" not in both.masked.body


def test_a_request_in_which_nothing_is_found_goes_on_as_the_same_object() -> None:
    body = b'{"query":"orders of 2026"}'
    both = inspect(body, Secrets((b"plain-token-1234",)))
    assert both.findings == both.masked.findings == () and both.masked.body is body


@pytest.mark.parametrize(
    ("value", "clean"),
    [(b"application/json", True), (b"2025-11-25", True), (PAN.encode(), False), (b"Bearer plain-token-1234", False),
     ("code de sécurité: 123".encode(), False), ("code de sécurité: 123".encode("latin-1"), False), (b"\xff\xfe", True),
     (b'{"n":"\\u0034111111111111111"}', False), (b"[411111******1111]", True)],
)  # fmt: skip
def test_a_header_value_is_clean_when_nothing_in_it_would_be_masked(value: bytes, clean: bool) -> None:
    secrets = Secrets((b"plain-token-1234",))
    assert [is_clean(value, secrets) for _ in range(2)] == [clean, clean]
