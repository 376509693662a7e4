"""Whole documents: reach, pointers, spans, refusals."""

import json

import msgspec
import pytest

from gatebook.masking import Finding, Masked, MaskingFailed, Secrets, inspect_arguments, mask, mask_text, self_test

PAN = "4111111111111111"  # Visa's published test number
AMEX = "378282246310005"  # Amex's


def masked(content: object) -> object:
    return json.loads(mask(json.dumps(content).encode()).body)


def test_a_clean_message_goes_on_as_the_same_object() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"all is well"}]}}'
    assert mask(body).body is body
    text = "all is well"
    assert mask_text(text)[0] is text


def test_every_position_of_a_message_is_reached() -> None:
    body = {"error": {"message": PAN, "data": [{"deep": {"x": f"a {PAN}"}}]}, "params": {PAN: 1}, "n": int(PAN)}
    assert PAN not in json.dumps(masked(body))


def test_findings_name_the_leaf_in_the_order_of_the_document() -> None:
    body = json.dumps({"a": [{}, {"b/c~": PAN}], "cvv": "123", "z": f"{PAN} {AMEX}"}).encode()
    assert mask(body).findings == (
        Finding(detector="pan", action="masked", pointer="/a/1/b~1c~0"),
        Finding(detector="cvv", action="removed", pointer="/cvv"),
        Finding(detector="pan", action="masked", pointer="/z"),
        Finding(detector="pan", action="masked", pointer="/z"),
    )


def test_a_key_that_is_a_card_number_is_masked_and_so_is_every_pointer_through_it() -> None:
    result = mask(json.dumps({"totals": {PAN: {"cvv": "123"}}}).encode())
    assert json.loads(result.body) == {"totals": {"411111******1111": {"cvv": "[cvv removed]"}}}
    assert [finding.pointer for finding in result.findings] == ["/totals", "/totals/411111******1111/cvv"]


def test_keys_that_would_become_equal_refuse_the_message() -> None:
    twins = {PAN: 1, "411111******1111": 2}
    with pytest.raises(MaskingFailed) as refusal:
        mask(json.dumps(twins).encode())
    assert "1111" not in str(refusal.value)
    with pytest.raises(MaskingFailed):
        mask(json.dumps({"text": json.dumps([twins])}).encode())


def test_what_stands_around_a_finding_is_kept_byte_for_byte() -> None:
    body = b'{ "a" :1.50,"b":"\\u00e9\\/ 4111\\t1111\\u00091111\\t1111\\n","c":[ ] }'
    assert mask(body).body == b'{ "a" :1.50,"b":"\\u00e9\\/ 4111\\t11**\\u0009****\\t1111\\n","c":[ ] }'


def test_escapes_do_not_hide_a_number() -> None:
    assert mask(b'["\\u0034111111111111111"]').body == b'["\\u003411111******1111"]'
    assert mask(b'["\\u00e9378282246310005"]').body == b'["\\u00e9378282*****0005"]'
    assert mask(b'{"\\u0063vv":123}').body == b'{"\\u0063vv":0}'
    assert mask(b'["\\ud83d\\ude00 4111111111111111"]').body == b'["\\ud83d\\ude00 411111******1111"]'


def test_json_inside_strings_is_read_four_layers_deep_and_stays_valid() -> None:
    content: object = {"number": int(PAN), "cvv": "123"}
    for _ in range(4):
        content = [json.dumps(content)]
    found = masked(content)
    for _ in range(4):
        assert isinstance(found, list)
        found = json.loads(found[0])
    assert found == {"number": 4111110000001111, "cvv": "[cvv removed]"}


def test_a_string_that_only_begins_like_json_is_text() -> None:
    assert masked([f"[info] card {PAN}", f'{{"open": "{PAN}']) == [
        "[info] card 411111******1111",
        '{"open": "411111******1111',
    ]


def test_base64_of_an_image_passes_and_the_same_letters_elsewhere_do_not() -> None:
    blob = "Q" * 30 + PAN + "Z" * 30
    body = json.dumps({"type": "image", "data": blob}).encode()
    assert mask(body).body is body
    assert mask(json.dumps({"text": blob}).encode()).findings
    assert mask(json.dumps({"data": PAN}).encode()).findings


@pytest.mark.parametrize("key", ["data", "blob"])
@pytest.mark.parametrize(
    "text",
    [
        "57134111111111111111D29122010000000000000F" + "9F0607A0000000031010" * 2,
        "5f3401005a084111111111111111" + "9f0607a0000000031010" * 2,
        f"{PAN}_5555555555554444_{AMEX}_6011111111111117",
        f"{PAN}-5555555555554444-{AMEX}-6011111111111117",
        f"{PAN}/5555555555554444/{AMEX}/6011111111111117",
        "Q" * 30 + PAN + "Z" * 31,  # neither is a length that base64 has
        "+" + "Q" * 30 + PAN + "Z" * 30,
        "-/" + "Q" * 30 + PAN + "Z" * 28,  # signs of both alphabets
        "Q" * 30 + PAN + "Z" * 29 + "==",
    ],
)
def test_what_is_no_base64_is_text_under_any_key(key: str, text: str) -> None:
    body = json.dumps({key: text}).encode()
    assert PAN not in json.dumps(masked({key: text})) and inspect_arguments(body)
    assert mask(json.dumps({"other": text}).encode()).body == mask(body).body.replace(key.encode(), b"other", 1)


@pytest.mark.parametrize("tail", ["QQ==", "QQQ=", "QQQQ", "+/QQ", "-_Q=", "-_QQ", "-Q", "-_Q"])
def test_base64_of_either_alphabet_passes_under_the_keys_of_binary_content(tail: str) -> None:
    body = json.dumps({"blob": "Q" * 52 + PAN + tail}).encode()
    assert mask(body).body is body


def test_columns_and_rows_are_judged_by_the_header_wherever_it_stands() -> None:
    rows = [[1, "123", 4567]]
    expected = [[1, "[cvv removed]", 0]]
    assert masked({"columns": ["id", "cvv", {"name": "pin"}], "rows": rows}) == {
        "columns": ["id", "cvv", {"name": "pin"}],
        "rows": expected,
    }
    assert masked({"data": rows, "fields": ["id", "cvv", "pin"]}) == {"data": expected, "fields": ["id", "cvv", "pin"]}
    assert masked([["id", "cvv", "pin"], *rows]) == [["id", "cvv", "pin"], *expected]


@pytest.mark.parametrize(
    "cell",
    [
        "4222222222222\\t40000566\\u003556\\u00365\\u0035\\u0035\\u0036\\t*\\tde52 ",
        "a long-lived-secret-of-forty-characters-or-more 4222222222222 cvv",
    ],
)
def test_a_mask_that_makes_a_cell_shorter_does_not_make_a_header_of_it(cell: str) -> None:
    secrets = Secrets((b"long-lived-secret-of-forty-characters-or-more",))
    once = mask(f'[["{cell}"],["1234"]]'.encode(), secrets)
    assert once.findings and mask(once.body, secrets).body is once.body


@pytest.mark.parametrize("key", ["iso8583", "ISO_8583_raw", "emvData", "EMV", "tlv"])
def test_a_key_that_says_payment_message_counts_as_words_beside_the_number_do(key: str) -> None:
    before = [f"02016{PAN}0000001", {"raw": f"99{PAN}=2912201"}]
    assert masked({key: before}) == {key: ["*****411111******1111*******", {"raw": "[track removed]"}]}
    assert masked({key: json.dumps(before)}) == {key: json.dumps(masked({key: before})[key])}  # type: ignore[index]
    assert inspect_arguments(json.dumps({key: before}).encode())
    assert masked({"other": before}) == {"other": before}


def test_a_cell_taken_for_a_header_does_not_unsay_what_the_key_above_says() -> None:
    body = json.dumps({"track2": [["x 2223003122003222|12 security code 123"]], "pin": [["cvv"], ["12345"]]}).encode()
    once = mask(body)
    assert json.loads(once.body) == {"track2": [["[track removed]"]], "pin": [["cvv"], ["[pin removed]"]]}
    assert mask(once.body).body is once.body


def test_a_name_beside_the_value_counts_like_a_key() -> None:
    assert masked([{"name": "cvv", "value": "123"}]) == [{"name": "cvv", "value": "[cvv removed]"}]
    assert masked({"cvv": {"value": "123"}}) == {"cvv": {"value": "[cvv removed]"}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"value": "987", "name": "cvv"}, {"value": "[cvv removed]", "name": "cvv"}),
        ({"content": 123, "label": "CVV"}, {"content": 0, "label": "CVV"}),
        ({"text": ["1234", 12], "title": "Card security code"}, {"text": ["[cvv removed]", 0], "title": "Card security code"}),
        ({"value": "4111111111111112", "name": "card_number"}, {"value": "411111******1112", "name": "card_number"}),
        ({"value": "4222222222222", "id": "card"}, {"value": "*********2222", "id": "card"}),
        ({"value": "1234", "name": "pin"}, {"value": "[pin removed]", "name": "pin"}),
        ({"values": [{"x": 1}, "987"], "name": "cvv"}, {"values": [{"x": 1}, "[cvv removed]"], "name": "cvv"}),
        ({"value": "987", "id": "card", "name": "cvv"}, {"value": "[cvv removed]", "id": "card", "name": "cvv"}),
        ({"name": "cvv", "value": "987", "title": "card"}, {"name": "cvv", "value": "[cvv removed]", "title": "card"}),
    ],
)  # fmt: skip
def test_a_name_counts_in_front_of_its_value_and_behind(before: dict[str, object], after: dict[str, object]) -> None:
    """Members of an object have no order, and many serialisers sort them."""
    quiet = [{"value": "987", "name": "floor"}, "987"]
    for content, expected in ((before, after), ([*quiet, before, *quiet], [*quiet, after, *quiet])):
        assert masked(content) == expected
        assert masked({"text": json.dumps(content)}) == {"text": json.dumps(expected)}
        assert inspect_arguments(json.dumps(content).encode())
    assert sorted(masked(dict(reversed(before.items()))).items()) == sorted(after.items())  # type: ignore[attr-defined]


def test_bytes_that_are_no_document_are_refused_without_a_value() -> None:
    for body in (
        b'{"a":4111111111111111',
        b'"4111111111111111" 1',
        b"[" * 70 + b"4111111111111111" + b"]" * 70,
        b'["cvv\\q"]',
    ):
        with pytest.raises(MaskingFailed) as refusal:
            mask(body)
        assert "4111" not in str(refusal.value) and refusal.value.__cause__ is None


def test_what_a_removal_brings_to_light_is_found_at_once() -> None:
    text, findings = mask_text("track;4111111111111111=29122010000000000?164111111111111111")
    assert text == "track[track removed]**411111******1111"
    assert mask_text(text) == (text, ()) and len(findings) == 2


def test_a_result_cannot_be_changed_afterwards() -> None:
    result = Masked(b"1", ())
    with pytest.raises(AttributeError):
        result.body = b"2"  # type: ignore[misc]
    assert msgspec.structs.asdict(result) == {"body": b"1", "findings": ()}


def test_the_self_test_passes() -> None:
    self_test()


def test_the_self_test_fails_when_masking_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatebook.masking.selftest.mask", lambda body: Masked(body, ()))
    with pytest.raises(MaskingFailed):
        self_test()


@pytest.mark.parametrize(
    "text",
    [
        f"{PAN} (CVV)",
        "id,card_nyour pin\n1,4222222222222\n",
        "5A085555555555554444333322221111z",  # 4444 3333 2222 1111 is another published number
    ],
)
def test_what_is_shown_of_a_number_is_no_finding_of_its_own(text: str) -> None:
    """The last digits before "(CVV)", in a column of PINs, and at the head of another number."""
    shown, findings = mask_text(text)
    assert findings and mask_text(shown) == (shown, ())


@pytest.mark.parametrize("escapes", [0, 1, 63, 64, 65, 128, 200])
@pytest.mark.parametrize("escape", ["\\n", "\\\\", "\\u00e9", "\\u20ac", "\\ud83d\\ude00", "\\\\u00e9", 'é\\"'])
def test_behind_any_number_of_escapes_only_the_number_is_changed(escapes: int, escape: str) -> None:
    before, behind = escape * escapes, escape * 3
    masked = mask(f'["{before} 4111111111111111 {behind}","4111111111111111{before}"]'.encode())
    assert masked.body.decode() == (f'["{before} 411111******1111 {behind}","411111******1111{before}"]')
