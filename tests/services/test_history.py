"""Former texts of a memory, however many: an answer has a page of them."""

from typing import Any

import pytest

from tests.services.conftest import World
from tmws_core.domain.memory import CONTENT_BYTES
from tmws_core.errors import InvalidField
from tmws_core.messages.memory import ALL, CreateMemory, GetMemory, UpdateMemory

pytestmark = pytest.mark.anyio


async def test_a_long_history_is_read_page_by_page_from_either_end(world: World) -> None:
    athena, count = world.agent("athena"), 20
    created = await world.app.call(athena, CreateMemory(content="0".ljust(CONTENT_BYTES, "a")))
    for number in range(1, count + 1):
        content = str(number).ljust(CONTENT_BYTES, "a")
        await world.app.call(athena, UpdateMemory(memory_id=created.memory_id, content=content))
    for oldest_first, expected in (
        (True, [[*range(1, 17)], [*range(17, 21)]]),
        (False, [[*range(5, 21)], [*range(1, 5)]]),
    ):
        wire: dict[str, Any] = {"memory_id": created.memory_id, "include_history": True, "oldest_first": oldest_first}
        wire["max_chars"] = ALL
        pages: list[list[int]] = []
        while wire.get("cursor", "first"):
            answer = await world.app.call_wire(athena, "get_memory", wire)
            pages.append([text["version"] for text in answer["history"]])
            assert sum(len(text["content"]) for text in answer["history"]) <= 1024 * 1024
            assert answer["history_total"] == count
            wire["cursor"] = answer.get("next_cursor")
        assert pages == expected


async def test_a_cursor_of_one_history_is_none_of_another(world: World) -> None:
    athena = world.agent("athena")
    first, second = [
        (await world.app.call(athena, CreateMemory(content=f"Memory {number}."))).memory_id for number in range(2)
    ]
    for number in range(102):
        await world.app.call(athena, UpdateMemory(memory_id=first, content=f"Text {number}."))
    found = await world.app.call(athena, GetMemory(memory_id=first, include_history=True, max_chars=ALL))
    assert (len(found.history or ()), found.history_total) == (100, 102)
    request = GetMemory(memory_id=second, include_history=True, cursor=found.next_cursor)
    with pytest.raises(InvalidField) as refusal:
        await world.app.call(athena, request)
    assert refusal.value.field == "cursor"


async def test_a_memory_without_former_texts_has_none_of_their_pages(world: World) -> None:
    athena = world.agent("athena")
    created = await world.app.call(athena, CreateMemory(content="The port is 8000."))
    plain = await world.app.call_wire(athena, "get_memory", {"memory_id": created.memory_id})
    assert plain.keys() == {"success", "memory"}
    found = await world.app.call(athena, GetMemory(memory_id=created.memory_id, include_history=True))
    assert (found.history, found.history_total, found.next_cursor) == ((), 0, None)
