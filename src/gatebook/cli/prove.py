"""`gatebook prove`: that one entry is in the log, by the desk's proof and the log's key."""

import typer

from gatebook.cli import book, printing
from gatebook.cli.person.api import DESK, the_api
from gatebook.cli.person.errors import PersonError, told
from gatebook.cli.verify import verifier_key
from gatebook.cli.visible import visible
from gatebook.federation.desk_api import Proof
from gatebook.ledger.checkpoint import Checkpoint, open_checkpoint
from gatebook.ledger.files import CannotJudge
from gatebook.ledger.merkle import ProofError, check_inclusion
from gatebook.ledger.note import NoteError, load_verifier

PROVEN, BROKEN, CANNOT_JUDGE = 0, 1, 2


def prove(
    index: int = typer.Argument(min=0, help="The entry's index, as `gatebook log` shows it."),
    key: str = typer.Option(..., "--key", metavar="VKEY|FILE", help="The log's verifier key, or a file that holds it."),
    leaf: str | None = typer.Option(
        None, "--leaf", help="The entry's leaf hash, as `gatebook log --json` showed it: it must be the one proven."
    ),
    desk: str | None = DESK,
    as_json: bool = book.AS_JSON,
) -> None:
    """Ask the desk to prove that an entry is in the log, and check the proof here: root, path and signature. For auditors, with no access to the host.

    Give the key from where you got it, not from the desk. Exit codes: 0 proven, 1 the proof does not hold, 2 it cannot be judged.
    """
    try:
        verifier = load_verifier(verifier_key(key))
        proof = the_api(desk).proof(index)
    except (PersonError, CannotJudge, NoteError, OSError, UnicodeDecodeError) as error:
        printing.give_up(told(error) if isinstance(error, PersonError) else visible(str(error)), CANNOT_JUDGE)
    if proof is None:
        printing.give_up(f"the log holds no entry {index} yet", CANNOT_JUDGE)
    try:
        checkpoint = open_checkpoint(proof.checkpoint.encode(), verifier)
        _demand(proof, checkpoint, index, leaf)
    except (NoteError, ProofError, ValueError) as error:
        printing.give_up(f"BROKEN: {visible(str(error))}", BROKEN)
    if as_json:
        said = {"index": index, "leaf": proof.leaf, "size": checkpoint.size, "root": checkpoint.root.hex()}
        printing.print_json_lines([{"verdict": "proven", "origin": checkpoint.origin, **said}])
        return
    words = f"PROVEN: entry {index} (leaf {proof.leaf}) is in {checkpoint.origin}, {checkpoint.size} entries, root {checkpoint.root.hex()}"
    printing.console().print(visible(words), soft_wrap=True)


def _demand(proof: Proof, checkpoint: Checkpoint, index: int, leaf: str | None) -> None:
    """Raises ValueError where the proof is of another entry or another size; ProofError (one of those) where its path does not hold."""
    if proof.index != index or proof.size != checkpoint.size:
        raise ValueError("the proof is of another entry, or of another size than the checkpoint")
    if leaf is not None and proof.leaf != leaf.lower():
        raise ValueError(f"entry {index} is another one now: its leaf is {proof.leaf}")
    path = [bytes.fromhex(node) for node in proof.proof]
    check_inclusion(bytes.fromhex(proof.leaf), index, checkpoint.size, path, checkpoint.root)
