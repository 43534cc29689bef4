"""The words of ended turns are taken out of the entries of others, where the versions before 0011 left them."""

from typing import Any

import attrs
import pytest

from tests.contracts.builders import DAY, EVERYTHING, memory, new, scope
from tests.contracts.steps import store
from tests.contracts.stores import Store, open_at
from tests.migrations.places import go, is_server, raw, upgraded
from tmws_core.domain.memory import AccessLevel

pytestmark = pytest.mark.anyio

SAID = ("apples", "pears", "plums and plums", "cherries", "melons", "figs", "quinces", "grapes of pears")
ENDED: dict[str, dict[str, Any]] = {
    "apples": {"superseded_at": DAY},
    "plums and plums": {"expires_at": DAY},
    "cherries": {"superseded_at": DAY},
    "quinces": {"expires_at": DAY},
}
"""What ends, and when."""

_MICROSECONDS = 1_769_817_600_000_000
"""DAY, as SQLite has times."""


async def entries(opened: Store) -> list[tuple[str, str, float]]:
    """Return what is found by each word, and how well."""
    everything = scope(include_expired=True, include_superseded=True)
    found = []
    for word in sorted(set(" ".join(SAID).split())):
        hits = await opened.lexical.search(everything, [word], 99)
        async with opened.storage.read() as snapshot:
            memories = await snapshot.memories.of_documents([hit.document for hit in hits], everything)
        found += [(word, memories[hit.document].content, hit.score) for hit in hits]
    return found


async def test_the_upgrade_takes_the_words_of_ended_turns_out_of_the_others(place: str) -> None:
    turns = [memory(content=text, session_id="s", sequence=number) for number, text in enumerate(SAID)]
    turns += [memory(content="pears of others", session_id="s", sequence=1, access_level=AccessLevel.SHARED)]
    async with open_at(place) as opened:
        await store(opened.storage, *map(new, turns))
    go(place, "0010")
    day = f"'{DAY.isoformat()}'" if is_server(place) else str(_MICROSECONDS)
    with raw(place) as connection:
        for content, (column, *_) in ENDED.items():
            connection.execute(f"UPDATE memories_v2 SET {column} = {day} WHERE content = '{content}'")

    upgraded(place)

    async with open_at(place) as opened:
        assert await opened.storage.integrity() == []
        written = await entries(opened)
        async with opened.storage.write() as unit:
            for turn in turns:
                await unit.changes.delete(await unit.memories.get(turn.id, EVERYTHING))
        await store(opened.storage, *(new(attrs.evolve(turn, **ENDED.get(turn.content, {}))) for turn in turns))
        assert await entries(opened) == written
