"""The tables of vectors: what is found in a text and how it looks afterwards, and what passes as it is."""

import json
from pathlib import Path
from typing import Any

import pytest

from gatebook.masking import mask, mask_text

VECTORS = Path(__file__).parents[2] / "vectors" / "masking"
TEXTS = json.loads((VECTORS / "texts.json").read_text(encoding="utf-8"))
UNTOUCHED = [
    text for texts in json.loads((VECTORS / "untouched.json").read_text(encoding="utf-8")).values() for text in texts
]


@pytest.mark.parametrize("vector", TEXTS, ids=lambda vector: vector["text"][:40])
def test_what_is_found_is_masked_as_the_table_says(vector: dict[str, Any]) -> None:
    text, findings = mask_text(vector["text"])
    assert (text, [finding.detector for finding in findings]) == (vector["masked"], vector["found"])


@pytest.mark.parametrize("vector", TEXTS, ids=lambda vector: vector["text"][:40])
def test_the_same_is_found_inside_a_document_and_inside_json_in_a_string(vector: dict[str, Any]) -> None:
    inside = json.dumps({"t": vector["text"]}, ensure_ascii=False)
    assert json.loads(mask(inside.encode()).body)["t"] == vector["masked"]
    wrapped = mask(json.dumps({"content": [{"text": inside}]}).encode())
    assert json.loads(json.loads(wrapped.body)["content"][0]["text"])["t"] == vector["masked"]
    assert {finding.pointer for finding in wrapped.findings} == {"/content/0/text"}


@pytest.mark.parametrize("text", UNTOUCHED)
def test_what_only_looks_like_card_data_stays(text: str) -> None:
    assert mask_text(text) == (text, ())
    body = json.dumps({"id": text, "rows": [text]}).encode()
    assert mask(body).body is body
