"""When the sealer lets others go first."""

from gatebook.serve.giving_way import PAUSE_S, STRETCH_S, WRITTEN_BYTES, WRITTEN_PAUSE_S, GiveWay


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


def test_what_is_written_goes_to_the_disk_a_little_at_a_time() -> None:
    core = Core()
    give_way = core.way()
    give_way.behind = False
    for _ in range(11):
        give_way.written(WRITTEN_BYTES // 4)
    assert core.slept == [WRITTEN_PAUSE_S] * 2
    core.now_s += STRETCH_S / 2
    give_way()
    assert len(core.slept) == 2  # it was a pause like the other


def test_who_is_behind_writes_all_at_once() -> None:
    core = Core()
    give_way = core.way()
    give_way.written(10 * WRITTEN_BYTES)
    give_way.behind = False
    give_way.written(WRITTEN_BYTES - 1)
    assert not core.slept
