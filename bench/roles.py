"""1,000 roles against 1: the same 1,000 tokens and 20 tools, cold (each token for the first time) and warm."""

from statistics import median

import msgspec

from bench import bodies
from bench.figures import Outcome, Round, Side
from bench.loading import Load
from bench.peers.common import MANY
from bench.rows import Row
from bench.side_by_side import settle
from bench.stage import Stage, stage
from bench.telling import Options, say

ROLES = 1000
_LONGEST_S = 90.0


def measure(row: Row, options: Options) -> Outcome:
    """The gate with one role and with a thousand, in turn. Raises Wrong."""
    with stage(row.name, bodies.answers("clean", row.kib), keep=options.keep) as place:
        place.enter("gatebook", label="1-role", tokens=row.tokens, tools=MANY)
        groups = tuple(f"group-{number:04}" for number in range(ROLES))
        place.enter("gatebook", label="1000-roles", tokens=row.tokens, tools=MANY, groups=groups)
        cold = {name: _cold(row, place, name) for name in place.contenders}
        for contender in place.contenders.values():  # every token with every tool
            pairs = row.tokens * len(MANY)
            place.load(
                contender,
                Load(connections=row.connections, warm_s=0, seconds=_LONGEST_S, most_requests=pairs + pairs // 99),
            )
        settle(place)
        rounds: dict[str, list[Round]] = {name: [] for name in place.contenders}
        for number in range(options.rounds):
            for name, contender in place.contenders.items():
                _, one = place.load(contender, Load(connections=row.connections, seconds=options.seconds))
                rounds[name].append(one)
                say(
                    f"{row.name} round {number + 1} {name}: {one.calls_per_s:,.0f} calls/s, CPU {one.cpu_us:.1f} µs/call"
                )
                settle(place)
    sides = {name: Side(rounds=tuple(seen)) for name, seen in rounds.items()}
    sides = {
        name: msgspec.structs.replace(side, rss_idle_mib=place.contenders[name].rss_idle_mib)
        for name, side in sides.items()
    }
    return Outcome(row=row.name, sides=sides, extra=losses(cold, sides))


def losses(cold: dict[str, float], sides: dict[str, Side]) -> dict[str, float]:
    """How much fewer calls a second with a thousand roles, warm (paired by round); and the cold rates themselves."""
    pairs = zip(sides["1-role"].rounds, sides["1000-roles"].rounds, strict=True)
    loss = median(100 * (1 - many.calls_per_s / one.calls_per_s) for one, many in pairs)
    more = sides["1000-roles"].middle("cpu_us") / sides["1-role"].middle("cpu_us") - 1
    return {
        "loss_percent": loss,
        "more_cpu_per_call_percent": 100 * more,
        "cold_calls_per_s_1_role": cold["1-role"],
        "cold_calls_per_s_1000_roles": cold["1000-roles"],
    }


def _cold(row: Row, place: Stage, name: str) -> float:
    """Calls a second while every token is seen for the first time."""
    load = Load(connections=row.connections, warm_s=0, seconds=_LONGEST_S, most_requests=row.tokens)
    measured, _ = place.load(place.contenders[name], load)
    say(f"{row.name} cold {name}: {measured.per_s:,.0f} calls/s")
    settle(place)
    return measured.per_s
