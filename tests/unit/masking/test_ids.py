"""Ids that begin like the name of a data element of ISO 8583: every ten thousandth hexadecimal one does."""

import json

import pytest

from gatebook.masking import mask
from gatebook.masking.secrets import NO_SECRETS
from gatebook.masking.trigger import NOTHING, hits
from gatebook.masking.words import kinds

IDS = ["de52bd13-4bf9-4a1c-9d1e-77aa00bb11cc", "de35f7a0c1d2e3f4a5b6c7d8e9f0a1b2", "de45a1b2"]


@pytest.mark.parametrize("text", IDS)
def test_an_id_names_no_data_element_and_is_no_reason_to_look(text: str) -> None:
    assert "pin_block" not in kinds(text.encode()) and "track" not in kinds(text.encode())
    assert hits(json.dumps({"trace": text, "rows": [["a", 1]]}).encode(), NO_SECRETS) == NOTHING


@pytest.mark.parametrize(
    "name", ["de52", "DE52", "de_52", "de 052", "de52PinBlock", "de52value", "de52 bd13aa", "De52"]
)
def test_the_name_of_a_data_element_still_names_it(name: str) -> None:
    body = json.dumps({name: "0123456789ABCDEF"}).encode()
    assert "pin_block" in kinds(name.encode()) and mask(body).body != body
