"""The contract of Storage: former texts, page by page, and as of a moment."""

from datetime import timedelta

import attrs
import pytest

from tests.contracts.builders import DAY, EVERYTHING, memory, new
from tests.contracts.steps import get, replace, store
from tmws_core.domain.memory import CONTENT_BYTES, Memory
from tmws_core.domain.text import Lexical
from tmws_core.ports.storage import FORMER_BYTES, FORMER_TEXTS, Storage

pytestmark = pytest.mark.anyio


async def told(storage: Storage, *texts: str) -> Memory:
    """Return a memory that had these texts, an hour each."""
    stored = memory(content=texts[0], created_at=DAY, updated_at=DAY, version=1)
    await store(storage, new(stored))
    for hours, text in enumerate(texts[1:], 1):
        former = await get(storage, stored.id)
        at = DAY + timedelta(hours=hours)
        changed = attrs.evolve(former, content=text, version=former.version + 1, updated_at=at)
        await replace(storage, former, attrs.evolve(new(changed), lexical=Lexical("a")))
    return await get(storage, stored.id)


async def test_former_texts_are_read_from_either_end_and_from_behind_any_version(storage: Storage) -> None:
    stored = await told(storage, *(f"text {number}" for number in range(1, 7)))

    async with storage.read() as snapshot:
        await snapshot.memories.get(stored.id, EVERYTHING)
        reader = snapshot.memories
        assert [text.version for text in await reader.history(stored.id, order="newest", limit=2)] == [5, 4]
        assert [text.version for text in await reader.history(stored.id, order="newest", behind=4)] == [3, 2, 1]
        assert [text.version for text in await reader.history(stored.id, behind=3)] == [4, 5]
        assert await reader.history(stored.id, behind=5) == []
        assert await reader.count_history(stored.id) == 5
        (last,) = await reader.history(stored.id, behind=4)
    begin, end = DAY + timedelta(hours=4), DAY + timedelta(hours=5)
    assert (last.content, last.valid_from, last.valid_to) == ("text 5", begin, end)


async def test_a_page_of_former_texts_is_bounded_in_bytes_and_in_number(storage: Storage) -> None:
    room = FORMER_BYTES // CONTENT_BYTES
    long = await told(storage, *(chr(ord("a") + number) * CONTENT_BYTES for number in range(room + 3)))
    short = await told(storage, *(str(number) for number in range(FORMER_TEXTS + 2)))

    async with storage.read() as snapshot:
        for stored, most in ((long, room), (short, FORMER_TEXTS)):
            await snapshot.memories.get(stored.id, EVERYTHING)
            newest = await snapshot.memories.history(stored.id, order="newest")
            assert [text.version for text in newest] == [*range(stored.version - 1, 0, -1)][:most]
            assert len(await snapshot.memories.history(stored.id)) == most


async def test_the_texts_of_a_moment_are_found_at_once(storage: Storage) -> None:
    first, second = await told(storage, "a", "b", "c"), await told(storage, "d", "e")

    async with storage.read() as snapshot:
        for each in (first, second):
            await snapshot.memories.get(each.id, EVERYTHING)
        for minutes, expected in ((-1, []), (0, ["a", "d"]), (59, ["a", "d"]), (60, ["b"]), (119, ["b"]), (120, [])):
            moment = DAY + timedelta(minutes=minutes)
            texts = await snapshot.memories.texts_at([first.id, second.id], moment)
            assert sorted(text.content for text in texts.values()) == expected, minutes
            assert first.id not in texts or texts[first.id].content in "ab"
