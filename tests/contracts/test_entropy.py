"""Random bytes: as many as asked for, and nobody gets another's, whichever thread asks."""

import threading

from gatebook.adapters.entropy_system import SystemEntropy


def test_as_many_bytes_come_as_were_asked_for() -> None:
    entropy = SystemEntropy()
    for count in (1, 10, 32, 4095, 4096, 4097, 100_000):
        assert len(entropy(count)) == count


def test_no_two_drawings_share_bytes_whichever_thread_asks() -> None:
    entropy = SystemEntropy()
    drawn: list[list[bytes]] = [[] for _ in range(4)]

    def draw(mine: list[bytes]) -> None:
        mine.extend(entropy(16) for _ in range(20_000))

    threads = [threading.Thread(target=draw, args=(mine,)) for mine in drawn]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = [piece for mine in drawn for piece in mine]
    assert len(set(together)) == len(together) == 80_000
