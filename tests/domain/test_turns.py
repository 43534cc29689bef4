"""A share of what is scarce for each, in the order in which they come."""

import anyio
import pytest

from tmws_core.turns import Turns

pytestmark = pytest.mark.anyio


class Room:
    """Calls that hold a turn until they are told to go, in the order in which they got it."""

    def __init__(self, most: int) -> None:
        self.turns = Turns(most)
        self.inside: list[str] = []
        self._doors: dict[str, anyio.Event] = {}

    async def call(self, key: str, name: str) -> None:
        async with self.turns.of(key):
            self._doors[name] = anyio.Event()
            self.inside.append(name)
            try:
                await self._doors[name].wait()
            finally:
                self.inside.remove(name)

    async def leave(self, name: str) -> None:
        self._doors[name].set()
        await anyio.wait_all_tasks_blocked()


async def test_a_key_has_its_share_at_once_and_the_others_in_their_order() -> None:
    room = Room(2)
    async with anyio.create_task_group() as tasks:
        for name in ("first", "second", "third", "fourth"):
            tasks.start_soon(room.call, "busy", name)
        await anyio.wait_all_tasks_blocked()
        assert room.inside == ["first", "second"]
        await room.leave("second")
        assert room.inside == ["first", "third"]
        await room.leave("first")
        assert room.inside == ["third", "fourth"]
        tasks.cancel_scope.cancel()


async def test_no_key_waits_for_another() -> None:
    room = Room(1)
    async with anyio.create_task_group() as tasks:
        for name in ("first", "second"):
            tasks.start_soon(room.call, "busy", name)
        tasks.start_soon(room.call, "other", "another")
        await anyio.wait_all_tasks_blocked()
        assert room.inside == ["first", "another"]
        tasks.cancel_scope.cancel()


async def test_who_gives_up_waiting_takes_no_turn_and_who_gives_one_up_frees_it() -> None:
    room = Room(1)
    scopes = {name: anyio.CancelScope() for name in ("holding", "waiting", "last")}

    async def within(name: str) -> None:
        with scopes[name]:
            await room.call("busy", name)

    async with anyio.create_task_group() as tasks:
        for name in scopes:
            tasks.start_soon(within, name)
        await anyio.wait_all_tasks_blocked()
        scopes["waiting"].cancel()
        await anyio.wait_all_tasks_blocked()
        scopes["holding"].cancel()
        await anyio.wait_all_tasks_blocked()
        assert room.inside == ["last"]
        tasks.cancel_scope.cancel()


async def test_nothing_is_kept_of_who_has_gone() -> None:
    turns = Turns(1)
    async with turns.of("here"):
        assert len(turns) == 1
        with anyio.move_on_after(0):
            async with turns.of("here"):
                pytest.fail("there is one turn only")
        with pytest.raises(ValueError, match="broken"):
            async with turns.of("there"):
                raise ValueError("broken")
        assert len(turns) == 1
    assert len(turns) == 0
