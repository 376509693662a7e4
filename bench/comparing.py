"""How long it takes to refuse a guess, by how near it comes: `python -m bench.comparing`. One process, no desk, no network.

For each kind of secret the judge that the desk uses is given guesses that differ in the first sign, in the last, and in all, in an order of
chance, so that whatever else the machine does meets all three alike. Printed are the quartiles in nanoseconds, and how far the medians of
"first" and "last" lie apart. The control is a comparison that ends at the first difference, of signs enough to show: it must lie apart.
"""

import random
import secrets
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from gatebook.adapters.desk_store import SqlStore
from gatebook.federation import binding, refreshing
from gatebook.federation.records import hashed

GUESSES = 4_000
CONTROL_SIGNS = 20_000


def main() -> None:
    with TemporaryDirectory() as folder:
        store = SqlStore.in_folder(Path(folder) / "desk")
        try:
            for name, secret, judge in subjects(store):
                print(told(name, measured(secret, judge)))
        finally:
            store.close()


def subjects(store: SqlStore) -> list[tuple[str, str, Callable[[str], object]]]:
    """(what it is, the right secret, the judge that refuses another)."""
    key, browser, handle = secrets.token_bytes(32), secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    refresh, state = refreshing.token_of(key, "a" * 32, 1), binding.state_of(browser, handle, "corp")
    form, long = binding.form_token(browser, handle), secrets.token_hex(CONTROL_SIGNS // 2)
    return [
        ("a refresh token, by compare_digest", refresh, lambda guess: refreshing.read(key, guess)),
        ("login state, by compare_digest", state, lambda guess: binding.is_of_browser(guess, browser, "corp")),
        ("a form's token, by compare_digest", form, lambda guess: binding.same(form, guess)),
        ("a handle or ticket, by its hash in SQLite", handle, lambda guess: store.transaction(hashed(guess), 0.0)),
        (f"CONTROL: {CONTROL_SIGNS} signs, by ==", long, lambda guess: long == guess),
    ]


def measured(secret: str, judge: Callable[[str], object]) -> dict[str, list[int]]:
    """Nanoseconds by kind of guess. Only signs that may stand there are changed, so that no guess is refused for its shape."""
    free = [place for place, sign in enumerate(secret) if sign not in ".1" and place > secret.rfind(".")]
    kinds = {"first": free[:1], "last": free[-1:], "all": free}
    taken: dict[str, list[int]] = {kind: [] for kind in kinds}
    order = [kind for kind in kinds for _ in range(GUESSES)]
    random.shuffle(order)
    for kind in order:
        guess = changed(secret, kinds[kind])
        began = time.perf_counter_ns()
        judge(guess)
        taken[kind].append(time.perf_counter_ns() - began)
    return taken


def changed(secret: str, places: list[int]) -> str:
    signs = list(secret)
    for place in places:
        signs[place] = "a" if signs[place] != "a" else "b"
    return "".join(signs)


def told(name: str, taken: dict[str, list[int]]) -> str:
    quartiles = {kind: statistics.quantiles(each, n=4) for kind, each in taken.items()}
    lines = [f"{kind:>8}: {low:9.0f} {middle:9.0f} {high:9.0f} ns" for kind, (low, middle, high) in quartiles.items()]
    apart = quartiles["last"][1] - quartiles["first"][1]
    return "\n".join([name, *lines, f"   apart: {apart:+9.0f} ns (last - first, medians of {GUESSES})"])


if __name__ == "__main__":
    main()
