"""What the newest part of the log says: whether it is whole, and was found so before, whether it grows, what was refused lately and why, which configuration is active."""

import datetime
from collections import Counter
from collections.abc import Iterator
from typing import Final

from gatebook.adapters.log_files import LogFiles
from gatebook.cli.doctoring.findings import Finding, Urgency, later, now, soon
from gatebook.cli.doctoring.patient import Patient
from gatebook.ledger import reading
from gatebook.ledger.checkpoint import Checkpoint, open_checkpoint
from gatebook.ledger.entry import Entry, decode, instant_us
from gatebook.ledger.growing import GrowingLog
from gatebook.ledger.merkle import TILE_WIDTH, leaf_hash
from gatebook.ledger.note import NoteError, load_verifier
from gatebook.ledger.tiles import read_bundle, read_tile
from gatebook.locks import held
from gatebook.model.errors import Reason

LOOKED_AT: Final = 20_000
LATELY_S: Final = 900.0
TILES: Final = 16
BEHIND_MS: Final = 5_000
_SLACK_S: Final = 15.0

REFUSED: Final[dict[Reason, tuple[Urgency, str]]] = {
    Reason.LEDGER_UNAVAILABLE: ("now", "df -h {data_dir}; journalctl -u gatebook -n 50"),
    Reason.DISK_SHORT: ("now", "df -h {data_dir}; df -i {data_dir}"),
    Reason.CLOCK_UNSYNCHRONISED: ("now", "chronyc tracking"),
    Reason.INTERNAL: ("now", "journalctl -u gatebook -n 200 | grep '\"bug\"'"),
    Reason.KEYS_UNAVAILABLE: ("now", "gatebook check {config}"),
    Reason.TOKEN_KEY_UNKNOWN: ("soon", "gatebook check {config}"),
    Reason.UPSTREAM_UNREACHABLE: ("soon", "gatebook check {config}"),
    Reason.UPSTREAM_TIMEOUT: ("soon", "gatebook log --reason upstream_timeout --since 15m {config}"),
    Reason.UPSTREAM_REFUSED_CREDENTIAL: (
        "soon",
        "gatebook log --reason upstream_refused_credential --since 15m {config}",
    ),
    Reason.CREDENTIAL_UNAVAILABLE: ("soon", "gatebook check {config}"),
}
"""What callers cannot mend: how urgent, and the line to type."""


def evidence(patient: Patient) -> Iterator[Finding]:
    """Reads the newest entries without recording it: nothing of them is shown but counts and reasons."""
    log = LogFiles(patient.data_dir / "log")
    try:
        vkey = (patient.data_dir / "log.vkey").read_text("utf-8").strip()
        head = open_checkpoint(log.read("checkpoint"), load_verifier(vkey))
    except FileNotFoundError:
        return  # nothing was sealed yet, or nothing is left: `service` and `check` say what there is
    except (NoteError, ValueError) as failure:
        yield _broken(patient, f"its newest checkpoint is not signed by log.vkey: {failure}")
        return
    try:
        _demand_whole(log, head)
        newest = _newest(log, head)
        beat = _newest_beat(log, head, newest, patient.deployment.heartbeat_s) if newest else None
    except PermissionError:
        raise  # what this user may not read is not broken
    except (OSError, ValueError) as failure:
        yield _broken(patient, str(failure))
        return
    if newest:
        if beat is not None:
            yield from _compared(patient, beat)
        yield from _growing(patient, newest, beat)
        yield from _refused(patient, newest)
        yield from _configuration(patient, newest)
        yield from _backup(patient, newest)


def _broken(patient: Patient, why: str) -> Finding:
    what = f"VERIFICATION FAILED: {why}. Mend, restart and delete nothing; copy {patient.data_dir} whole"
    return now("log", what, f"gatebook verify {patient.data_dir} --key VKEY --checkpoint OLDER")


def _demand_whole(log: LogFiles, head: Checkpoint) -> None:
    """The newest tiles give the signed root, and the newest entries are those that the tiles name. Raises ValueError, OSError."""
    if GrowingLog.resume(head.size, log.read).tree.root() != head.root:
        raise ValueError(f"the tiles do not give the root that was signed for {head.size} entries")
    last = -(-head.size // TILE_WIDTH)
    for index in range(max(0, last - TILES), last):
        width = min(TILE_WIDTH, head.size - index * TILE_WIDTH)
        leaves = [leaf_hash(entry) for entry in read_bundle(index, width, log.read)]
        if leaves != read_tile(0, index, width, log.read):
            raise ValueError(
                f"entries {index * TILE_WIDTH} to {index * TILE_WIDTH + width - 1} do not agree with their tile"
            )


def _newest(log: LogFiles, head: Checkpoint) -> list[Entry]:
    """The newest entries, the newest first, at most LOOKED_AT."""
    found: list[Entry] = []
    for index, leaf in reading.leaves_backwards(log, head.size):
        found.append(decode(leaf))
        if head.size - index >= LOOKED_AT:
            break
    return found


def _newest_beat(log: LogFiles, head: Checkpoint, newest: list[Entry], heartbeat_s: float) -> Entry | None:
    """The sealer's newest heartbeat. One comes each `heartbeat_s`, between which a busy log takes more entries than LOOKED_AT: so far back they are
    read, but not decoded. None where none is there, or it is older."""
    beat = next((entry for entry in newest if entry.ev == "log.heartbeat"), None)
    if beat is not None:
        return beat
    since_us = instant_us(newest[0].t) - int((heartbeat_s + _SLACK_S) * 1_000_000)
    for index, leaf in reading.leaves_backwards(log, head.size - len(newest)):
        if b'"ev":"log.heartbeat"' in leaf:
            return decode(leaf)
        if index % TILE_WIDTH == 0 and instant_us(decode(leaf).t) < since_us:
            return None
    return None


def _age_s(patient: Patient, entry: Entry) -> float:
    return patient.now_s - instant_us(entry.t) / 1_000_000


def _compared(patient: Patient, beat: Entry) -> Iterator[Finding]:
    """What the sealer found of older entries: they are too many to be read here. And of segments, which nobody else may read."""
    if beat.out.reason != "broken":
        return
    count, first = beat.x.get("broken"), str(beat.x.get("first_broken"))
    if not first.startswith("segments/"):
        files = f"{count} of its files not to be what was signed, first {first}"
        yield _broken(patient, f"at {beat.t} the sealer found {files}")
        return
    found = f"at {beat.t} the sealer found {count} files damaged, first {first}"
    if first.endswith(".damaged"):
        what = f"{found}: acknowledged entries are in it, and not in the log. Look at it, and move it out of the way when somebody has it"
        yield now("log", what, f"cp -a {patient.data_dir / first} /srv/evidence")
    else:
        what = f"{found}: what its writer records behind that is not signed, until another one takes its place. No byte of it is deleted"
        yield now("log", what, f"gatebook restart {patient.config}")


def _growing(patient: Patient, newest: list[Entry], beat: Entry | None) -> Iterator[Finding]:
    age_s = _age_s(patient, newest[0])
    if held(patient.data_dir / "log" / ".lock") and age_s > patient.deployment.heartbeat_s + _SLACK_S:
        what = f"the newest signed entry is {age_s:.0f} s old, and there is one each {patient.deployment.heartbeat_s:g} s: the sealer is behind, or hangs"
        yield now("sealer", what, "journalctl -u gatebook -n 50")
    behind = beat.x.get("behind_ms", 0) if beat is not None else 0
    if isinstance(behind, int) and behind > BEHIND_MS:
        what = f"an entry waited {behind / 1000:.0f} s for its signature lately: the disk is slow, or the processors are busy"
        yield soon("sealer", what, "iostat -x 1 5")
    started = next((entry for entry in newest if entry.ev in ("log.start", "log.stop")), None)
    if started is not None and not held(patient.data_dir / "log" / ".lock") and started.ev == "log.start":
        yield later(
            "service",
            "the last run did not end by itself; what was acknowledged is kept",
            "journalctl -u gatebook -n 200",
        )


def _refused(patient: Patient, newest: list[Entry]) -> Iterator[Finding]:
    counts: Counter[tuple[Reason, str]] = Counter()
    known = {str(reason): reason for reason in REFUSED}
    for entry in newest:
        if _age_s(patient, entry) > LATELY_S:
            break
        reason = known.get(entry.out.reason)
        if reason is not None:
            attempts = entry.x.get("attempts", 1)
            counts[reason, entry.res.server or ""] += attempts if isinstance(attempts, int) else 1
    for (reason, server), count in counts.items():
        urgency, line = REFUSED[reason]
        where = f"server {server}" if server else "calls"
        what = f"{count} in the last quarter of an hour: {reason}"
        if _is_over(reason, newest):
            urgency, what = "later", f"{what}; it is over"
        said = line.format(data_dir=patient.data_dir, config=patient.config)
        yield Finding(urgency=urgency, where=where, what=what, line=said)


def _is_over(reason: Reason, newest: list[Entry]) -> bool:
    """Whether a later entry says that what refused everybody's calls no longer does."""
    if reason is Reason.DISK_SHORT:
        told = next((entry for entry in newest if entry.ev == "disk.space"), None)
        return told is not None and told.out.reason != "short"
    return reason is Reason.CLOCK_UNSYNCHRONISED and newest[0].clk.ok


def _configuration(patient: Patient, newest: list[Entry]) -> Iterator[Finding]:
    loaded = next((entry for entry in newest if entry.ev in ("config.load", "config.refused")), None)
    if loaded is None:
        return
    active = loaded.x.get("config_sha256")
    if active != patient.examined.sha256:
        refused = " (it was refused when it was last reloaded)" if loaded.ev == "config.refused" else ""
        what = f"the file is not the configuration that is active{refused}"
        yield soon(patient.examined.path, what, f"gatebook check {patient.config} && systemctl reload gatebook")


def _backup(patient: Patient, newest: list[Entry]) -> Iterator[Finding]:
    made = next((entry for entry in newest if entry.ev == "log.backup" and entry.out.reason != "begun"), None)
    if made is None:
        since = datetime.datetime.fromisoformat(newest[-1].t).strftime("%Y-%m-%d")
        yield later(
            "backup", f"none since {since}, as far as the newest {len(newest)} entries say", "gatebook backup DIR"
        )
    elif "manifest" in made.x and not made.out.ok:
        where = f"{made.x.get('broken')} of its files, {made.x.get('first_broken')} among them"
        yield _broken(patient, f"what was backed up before has changed in {where}; the last backup has it whole")
    elif not made.out.ok:
        yield soon("backup", f"the last one was not made: {made.out.reason}", "gatebook backup DIR")
