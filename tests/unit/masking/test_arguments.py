"""What a client sends: nothing is changed, everything is named."""

import json

import pytest

from gatebook.masking import MaskingFailed, inspect_arguments, mask

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
