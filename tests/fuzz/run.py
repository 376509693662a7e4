"""Looks for bytes that break a promise of `targets.py`, guided by what code they reach (atheris, libFuzzer). `make fuzz` runs it.

    python -m tests.fuzz.run [TARGET...] [--seconds N] [--keep]

Each target runs for N seconds (default 60) in a process of its own, from its corpus and dictionary on. What it finds new lies under
`.cache/fuzz/TARGET`; with --keep the short inputs that reach what no other reaches go into `corpus/TARGET.jsonl`. A broken promise,
a crash or an input that takes longer than WATCHDOG_S ends with status 1 and a file `.cache/fuzz/TARGET/crash-…`; replay it with --replay.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.seeds import DICTIONARY
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".cache" / "fuzz"
WATCHDOG_S = 20
MOST_BYTES = 4096


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--replay", type=Path)
    known = parser.parse_args()
    names = known.targets or list(TARGETS)
    if known.replay:
        TARGETS[names[0]](known.replay.read_bytes())
        return 0
    return max([fuzz(name, known.seconds, keep=known.keep) for name in names])


def fuzz(name: str, seconds: int, *, keep: bool) -> int:
    """One target, for so many seconds, told in one line; 0 where no promise was broken."""
    work = WORK / name
    found, seeds = work / "found", work / "seeds"
    shutil.rmtree(seeds, ignore_errors=True)
    for directory in (found, seeds):
        directory.mkdir(parents=True, exist_ok=True)
    for number, entry in enumerate(corpus.entries(name)):
        (seeds / str(number)).write_bytes(entry)
    words = work / "dictionary"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in DICTIONARY))
    started = time.monotonic()
    done = child(
        name, f"-max_total_time={seconds}", f"-dict={words}", f"-artifact_prefix={work}/", str(found), str(seeds)
    )
    log = (done.stderr + done.stdout).decode("utf-8", "replace")
    (work / "log").write_text(log)
    runs = re.findall(r"stat::number_of_executed_units: (\d+)", log) or re.findall(r"#(\d+)", log) or ["0"]
    covered = re.findall(r"cov: (\d+)", log) or ["0"]
    print(f"{name}: {runs[-1]} runs in {time.monotonic() - started:.0f} s, {covered[-1]} places reached", flush=True)
    if done.returncode != 0:
        print(log[-3000:], flush=True)
        return 1
    if keep:
        before = [json.loads(line).encode("latin-1") for line in corpus.lines(name)]
        kept = corpus.keep(name, before + [path.read_bytes() for path in found.iterdir()])
        print(f"{name}: {kept} inputs kept", flush=True)
    return 0


def child(name: str, *options: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "tests.fuzz.one", name]
    always = [f"-max_len={MOST_BYTES}", f"-timeout={WATCHDOG_S}", "-print_final_stats=1", "-rss_limit_mb=2048"]
    return subprocess.run([*command, *always, *options], cwd=ROOT, capture_output=True, check=False)


def _escaped(word: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
