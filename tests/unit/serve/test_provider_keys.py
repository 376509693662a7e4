"""How long the desk holds a request whose token names a key that nobody has."""

import asyncio

import pytest

from gatebook.serve.desk_http import provider_keys
from gatebook.serve.desk_http.provider_keys import MOST_WAITING, ProviderKeys


async def test_of_a_flood_of_unknown_keys_few_wait_for_an_issuer_that_is_slow_and_the_others_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = asyncio.Event()
    asked = []

    async def ask(name: str) -> None:
        asked.append(name)
        await answered.wait()

    keys = ProviderKeys()
    keys.ask_again = ask
    flood = [asyncio.create_task(keys.key_unknown("ci")) for _ in range(1_000)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sum(task.done() for task in flood) == 1_000 - MOST_WAITING
    answered.set()
    await asyncio.gather(*flood)
    # Nobody waits any more: there is room again. And an issuer that says nothing at all is not waited for without end.
    answered.clear()
    monkeypatch.setattr(provider_keys, "WAIT_S", 0.01)
    await asyncio.gather(*(keys.key_unknown("ci") for _ in range(MOST_WAITING)))
    assert len(asked) == 2 * MOST_WAITING


async def test_nobody_waits_where_nothing_is_asked() -> None:
    keys = ProviderKeys()
    async with asyncio.timeout(1):
        await keys.key_unknown("ci")
