"""Is this log whole? Everything that can be said from its files and the verifier key alone, streaming, trusting nothing it reads.

What it cannot say: a log cut or rewritten by whoever holds the signing key is whole again. Only a checkpoint kept elsewhere shows that:
pass one as `old_checkpoint`.
"""

from array import array
from collections.abc import Callable, Collection

import msgspec

from gatebook.ledger.checkpoint import Checkpoint, open_checkpoint
from gatebook.ledger.files import AsPermitted, CannotJudge, Files
from gatebook.ledger.gist import Writer
from gatebook.ledger.merkle import TILE_WIDTH, Tree, leaf_hash
from gatebook.ledger.note import NoteError, Verifier, load_verifier
from gatebook.ledger.payload import PrivateKey
from gatebook.ledger.reading import archived_sizes
from gatebook.ledger.tiles import BundleError, read_bundle, read_tile, tile_name, widths
from gatebook.ledger.verifying_entries import EntryCheck
from gatebook.ledger.verifying_files import FileCheck
from gatebook.ledger.verifying_payloads import PayloadCheck
from gatebook.ledger.verifying_unsigned import Unsigned, Written, written_since

MAX_PROBLEMS = 1000


class Problem(msgspec.Struct, frozen=True):
    """`where`: `entry 17`, or a file's name under the log or payload directory."""

    where: str
    what: str


class Report(msgspec.Struct, kw_only=True):
    """What was judged, and everything that is wrong with it. `pending`: pieces beyond the checkpoint, which no signature covers yet: a sealer is
    at work, or ended before it signed them. `unknown`: frames of recordings, by file, whose writer no entry names: nobody can say here whether they are still to come. `payloads`: named by entries, and compared with the files that hold them; `unseen`: named by entries, and not
    looked at, for no files were given. `opened`: payloads opened and compared with their commitments; `locked`: whole, but the payload key that was given
    does not open them. `root` in hex. `follows`: the log before a restore, as the first entry says."""

    origin: str = ""
    size: int = 0
    root: str = ""
    checkpoints: int = 0
    payloads: int = 0
    unseen: int = 0
    opened: int = 0
    locked: int = 0
    pending: int = 0
    development: bool = False
    follows: str = ""
    unknown: list[Problem] = []
    problems: list[Problem] = []

    @property
    def intact(self) -> bool:
        return not self.problems

    def say(self, where: str, what: str) -> None:
        """Note a problem; above MAX_PROBLEMS only that there are more."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(where, what))
        elif len(self.problems) == MAX_PROBLEMS:
            self.problems.append(Problem("log", f"more than {MAX_PROBLEMS} problems"))


def verify(
    log: Files,
    payloads: Files | None,
    vkey: str,
    *,
    old_checkpoint: bytes | None = None,
    payload_key: PrivateKey | None = None,
    settle: Callable[[], None] = lambda: None,
    at_work: Callable[[], Collection[Writer] | None] = lambda: None,
) -> Report:
    """Judge the log in `log` (and its recordings in `payloads`) by the verifier key in text form. Memory does not grow with the log.

    `settle` waits for a running sealer to publish its next checkpoint; it is called where something looks unfinished, at most twice. `at_work`: whose
    entries may still come, for they have segments; None where that cannot be known.
    Raises CannotJudge; everything else that is wrong is in the report.
    """
    report = Report()
    try:
        _judge(
            report, AsPermitted(log), None if payloads is None else AsPermitted(payloads), vkey, old_checkpoint, payload_key, settle, at_work
        )  # fmt: skip
    except CannotJudge as error:
        if report.intact:
            raise
        first = report.problems[0]
        found = f"what could be read is BROKEN: {len(report.problems)} problems, the first: {first.where}: {first.what}"
        raise CannotJudge(f"{error}; {found}") from error
    return report


def _judge(
    report: Report,
    log: Files,
    payloads: Files | None,
    vkey: str,
    old_checkpoint: bytes | None,
    payload_key: PrivateKey | None,
    settle: Callable[[], None],
    at_work: Callable[[], Collection[Writer] | None],
) -> None:
    """What `verify` says, into `report`. The order is the argument:"""
    try:
        verifier = load_verifier(vkey)
    except NoteError as error:
        raise CannotJudge(f"the verifier key cannot be used: {error}") from error
    # 1. Which state is judged: the largest that the log's own key signed.
    head, archive = _head(log, verifier, report, settle)
    if head is None:
        return
    report.origin, report.size, report.root = head.origin, head.size, head.root.hex()
    # 2. Which roots the walk must meet on its way: every archived checkpoint's, and that of the one kept elsewhere.
    wanted = _Roots(log, archive, verifier, head, report)
    if old_checkpoint is not None:
        wanted.add_old(old_checkpoint)
    # 3. Every entry, and every hash above it.
    payload_check = PayloadCheck(report.say, payloads, payload_key)
    entry_check = EntryCheck(report.say, head.origin, payload_check)
    if _walk(log, head, wanted, entry_check, report):
        # 4. Recordings. 5. Every file that lies there is one of these, in the bytes they demand.
        entry_check.finish()
        files = FileCheck(report.say, log, payloads, head.size, archive, entry_check, payload_check)
        files.look()
        unsigned = payload_check.unsigned
        looks_odd = any(unsigned.nobodys(entry_check.written, at_work()))
        if files.unfinished or files.strays or payload_check.again or looks_odd:
            settle()
            # Who has no segment by now has everything signed by now, so this comes before the newer checkpoint.
            working = at_work()
            newer = _newer_size(log, verifier, head)
            files.look_again(newer)
            payload_check.retry(entry_check.written)
            # 6. What no entry names has a writer whose next entries may name it.
            _judge_unsigned(unsigned, written_since(log, head.size, newer, entry_check.written), working, report)
        report.pending += files.pending + payload_check.begun + unsigned.count
    report.checkpoints = len(archive)
    report.payloads, report.unseen, report.opened = payload_check.payloads, payload_check.unseen, payload_check.opened
    report.locked = payload_check.locked
    report.development, report.follows = entry_check.development, entry_check.follows


class _Roots:
    """The sizes at which a signed root must be met, in order."""

    def __init__(self, log: Files, archive: "array[int]", verifier: Verifier, head: Checkpoint, report: Report) -> None:
        self._log, self._archive, self._verifier = log, archive, verifier
        self._head, self._report = head, report
        self._next = 0
        self._old: Checkpoint | None = None

    def add_old(self, note: bytes) -> None:
        try:
            old = open_checkpoint(note, self._verifier)
        except NoteError as error:
            raise CannotJudge(f"the older checkpoint is not one of this log: {error}") from error
        if old.size > self._head.size:
            self._report.say(
                "checkpoint", f"holds {self._head.size} entries, the older one {old.size}: the log was cut"
            )
        else:
            self._old = old

    def meet(self, tree: Tree) -> None:
        """Compare what was signed for the present size."""
        size = tree.size
        if self._old is not None and self._old.size == size and self._old.root != tree.root():
            self._report.say("checkpoint", f"the older checkpoint has another root at {size}: the log was rewritten")
        while self._next < len(self._archive) and self._archive[self._next] == size:
            self._next += 1
            name = f"checkpoints/{size}"
            try:
                signed = open_checkpoint(self._log.read(name), self._verifier)
            except FileNotFoundError:
                continue  # it was there when the walk began: a running sealer has thinned out its archive
            except (NoteError, OSError) as error:
                self._report.say(name, str(error))
                continue
            if signed.size != size or signed.root != tree.root():
                self._report.say(name, "is not the state that the entries give")


def _walk(log: Files, head: Checkpoint, wanted: _Roots, entry_check: EntryCheck, report: Report) -> bool:
    """All entries into a tree, compared with every tile and signed root. False where the walk cannot go on."""
    tree = Tree()
    wanted.meet(tree)
    for index in range(-(-head.size // TILE_WIDTH)):
        first = index * TILE_WIDTH
        width = min(TILE_WIDTH, head.size - first)
        try:
            entries = read_bundle(index, width, log.read)
        except (BundleError, OSError) as error:
            what = f"entries {first} to {first + width - 1} cannot be read: {error}"
            report.say(tile_name(None, index, width), f"{what}; nothing behind them was judged, and no recording")
            return False
        leaves = [leaf_hash(entry) for entry in entries]
        _compare(log, 0, index, leaves, report)
        for offset, entry in enumerate(entries):
            for level, number, hashes in tree.append(leaves[offset]):
                if level > 0:
                    _compare(log, level, number, hashes, report)
            entry_check.take(first + offset, entry)
            wanted.meet(tree)
    for level, full, width in widths(head.size):
        if level > 0 and width:
            _compare(log, level, full, tree.levels[level], report)
    if tree.root() != head.root:
        report.say("checkpoint", f"the entries give the root {tree.root().hex()}, which was not signed")
    return True


def _compare(log: Files, level: int, index: int, hashes: list[bytes], report: Report) -> None:
    name = tile_name(level, index, len(hashes))
    try:
        stored = read_tile(level, index, len(hashes), log.read)
    except (BundleError, OSError) as error:
        report.say(name, str(error))
        return
    for offset, (found, due) in enumerate(zip(stored, hashes, strict=True)):
        if found != due:
            place = index * TILE_WIDTH + offset
            what = f"entry {place}" if level == 0 else f"hash {place} of level {level}"
            report.say(what, f"does not agree with {name}")


def _head(
    log: Files, verifier: Verifier, report: Report, settle: Callable[[], None]
) -> tuple[Checkpoint | None, "array[int]"]:
    """The largest state signed by the log's key, and the sizes whose checkpoints are archived. Raises CannotJudge where nothing was ever signed."""
    # A running sealer archives a checkpoint, then publishes it. Read in this order the archive holds what is published, and perhaps a newer one.
    published, fault = _published(log, verifier)
    archive = archived_sizes(log)
    if published is None and not fault and not archive:
        raise CannotJudge("there is no checkpoint here: no log, or nothing was sealed yet")
    head = _newest(log, archive, published, verifier, report)
    if head is not None and (published is None or published.size < head.size):
        later, fault = _published(log, verifier)
        if not fault and (later is None or later.size < head.size):
            settle()
            later, fault = _published(log, verifier)
        if later is None:
            report.say("checkpoint", fault or "is gone")
        elif later.size < head.size:
            report.say(
                "checkpoint", f"is older than checkpoints/{head.size}: put back, or its sealer died before publishing"
            )
        elif later.size == head.size and later.root != head.root:
            report.say("checkpoint", f"has another root than checkpoints/{head.size}: both were signed")
    elif published is None:
        report.say("checkpoint", fault or "is gone")
    if published is not None and published.size and published.size not in archive:
        report.say(f"checkpoints/{published.size}", "is gone")
    return head, archive


def _newest(
    log: Files, archive: "array[int]", published: Checkpoint | None, verifier: Verifier, report: Report
) -> Checkpoint | None:
    """The largest archived checkpoint that is larger than `published` and signed; else `published`."""
    for size in reversed(archive):
        if published is not None and size <= published.size:
            break
        try:
            return open_checkpoint(log.read(f"checkpoints/{size}"), verifier)
        except (NoteError, OSError) as error:
            report.say(f"checkpoints/{size}", str(error))
    return published


def _published(log: Files, verifier: Verifier) -> tuple[Checkpoint | None, str]:
    """What is published now; or None and what is wrong with it, in no words where there is nothing."""
    try:
        return open_checkpoint(log.read("checkpoint"), verifier), ""
    except FileNotFoundError:
        return None, ""
    except (NoteError, OSError) as error:
        return None, str(error)


def _judge_unsigned(unsigned: Unsigned, written: Written, working: Collection[Writer] | None, report: Report) -> None:
    """Say whose frames nobody will sign; they are not pending."""
    for writer, frames in unsigned.nobodys(written, working):
        report.pending -= frames.count
        what = f"{frames.count} frames of {' '.join(writer)}, which no entry names, up to its number {frames.highest}"
        if working is not None:
            report.say(frames.where, f"{what}: that writer has no segment, so no entry will")
        elif len(report.unknown) < MAX_PROBLEMS:
            report.unknown.append(Problem(frames.where, what))


def _newer_size(log: Files, verifier: Verifier, head: Checkpoint) -> int:
    """The size that is published by now."""
    published, _ = _published(log, verifier)
    return head.size if published is None else max(head.size, published.size)
