"""C2SP signed-note and tlog-checkpoint."""

import json
from pathlib import Path

import pytest

from gatebook.ledger.checkpoint import Checkpoint, claimed, open_checkpoint, sign_checkpoint
from gatebook.ledger.note import NoteError, generate_key, load_signer, load_verifier, open_note, sign

VECTOR = json.loads((Path(__file__).parents[2] / "vectors/ledger/signed_note.json").read_text())
NOTE = VECTOR["note"].encode()


def test_the_published_example_is_signed_and_opened_alike() -> None:
    assert sign(VECTOR["text"], load_signer(VECTOR["signer"])) == NOTE
    assert open_note(NOTE, load_verifier(VECTOR["verifier"])) == VECTOR["text"]
    assert load_signer(VECTOR["signer"]).vkey == VECTOR["verifier"]


def test_signatures_of_others_do_no_harm_and_no_good() -> None:
    verifier = load_verifier(VECTOR["verifier"])
    assert open_note(NOTE + VECTOR["second_signature"].encode(), verifier) == VECTOR["text"]
    alone = (VECTOR["text"] + "\n" + VECTOR["second_signature"]).encode()
    with pytest.raises(NoteError, match="not signed by PeterNeumann"):
        open_note(alone, verifier)


def test_every_changed_byte_is_refused() -> None:
    verifier = load_verifier(VECTOR["verifier"])
    for position in range(len(NOTE)):
        for change in (1, 0x20, 0x80):
            changed = bytearray(NOTE)
            changed[position] ^= change
            with pytest.raises(NoteError):
                open_note(bytes(changed), verifier)


@pytest.mark.parametrize("text", ["no newline", "a\ttab\n", ""])
def test_what_is_no_text_is_not_signed(text: str) -> None:
    with pytest.raises(NoteError):
        sign(text, load_signer(VECTOR["signer"]))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb"])
def test_a_key_has_a_name_that_a_note_can_hold(name: str) -> None:
    with pytest.raises(NoteError):
        generate_key(name)


def test_a_signing_key_is_never_in_an_error() -> None:
    signer, _ = generate_key("example.com/log")
    broken = signer.replace("+example.com/log+", "+example.com/other+")
    with pytest.raises(NoteError) as caught:
        load_signer(broken)
    assert signer.split("+", 4)[4] not in str(caught.value)
    assert "***" in repr(load_signer(signer))


def test_a_checkpoint_reads_back() -> None:
    signer, vkey = generate_key("example.com/log")
    made = Checkpoint(origin="example.com/log", size=70_000, root=b"\x07" * 32)
    signed = sign_checkpoint(made, load_signer(signer))
    assert open_checkpoint(signed, load_verifier(vkey)) == claimed(signed) == made
    with pytest.raises(NoteError, match="a checkpoint of"):
        open_checkpoint(signed, load_verifier(vkey), "example.com/other")


@pytest.mark.parametrize(
    "text",
    [
        "example.com/log\n05\n" + "A" * 43 + "=\n",
        "example.com/log\n5\n" + "A" * 42 + "B=\n",
        "example.com/log\n5\nAAAA\n",
        "example.com/log\n5\n" + "A" * 43 + "=\nextension\n",
        "example.com/log\n-5\n" + "A" * 43 + "=\n",
    ],
)
def test_another_form_is_no_checkpoint(text: str) -> None:
    signer, vkey = generate_key("example.com/log")
    with pytest.raises(NoteError):
        open_checkpoint(sign(text, load_signer(signer)), load_verifier(vkey))
