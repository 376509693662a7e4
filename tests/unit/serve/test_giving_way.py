"""When the sealer lets others go first."""

from gatebook.serve.giving_way import PAUSE_S, STRETCH_S, GiveWay


class Core:
    """A clock that moves when somebody works or sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def way(self) -> GiveWay:
        return GiveWay(lambda: self.now_s, self.sleep)


def test_work_is_interrupted_after_each_stretch_and_not_before() -> None:
    core = Core()
    give_way = core.way()
    give_way.behind = False
    for _ in range(100):  # steps of a tenth of a stretch
        core.now_s += STRETCH_S / 10
        give_way()
    assert core.slept == [PAUSE_S] * len(core.slept)
    assert 9 <= len(core.slept) <= 10


def test_a_step_that_took_long_costs_one_pause() -> None:
    core = Core()
    give_way = core.way()
    give_way.behind = False
    core.now_s += 50 * STRETCH_S
    give_way()
    give_way()
    assert core.slept == [PAUSE_S]


def test_who_is_behind_or_does_not_know_yet_goes_on() -> None:
    core = Core()
    give_way = core.way()
    assert give_way.behind
    core.now_s += 10 * STRETCH_S
    give_way()
    assert not core.slept
    give_way.behind = False
    give_way()
    assert core.slept == [PAUSE_S]
