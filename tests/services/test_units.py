"""What a call has prepared decides nothing: what it answers, may do and dates is found in its transaction."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

import attrs
import pytest

from tests.services.clock import SettableClock
from tests.services.hand_clock import NOON
from tmws_adapters.bootstrap import Parts, compose, open_parts
from tmws_adapters.settings import Settings
from tmws_core.app import App
from tmws_core.domain.access import Visibility
from tmws_core.domain.agent import ROLES, Caller, Permission, Role
from tmws_core.domain.memory import AccessLevel
from tmws_core.errors import AgentInactive, Forbidden, VersionConflict
from tmws_core.messages.agents import DeactivateAgent, RegisterAgent, UpdateAgent
from tmws_core.messages.memory import (
    CreateMemories,
    CreateMemory,
    DeleteMemory,
    GetMemory,
    ListMemories,
    MemoryFound,
    ShareMemory,
    UpdateMemory,
)
from tmws_core.messages.search import SearchMemories, SearchMode
from tmws_core.operation import Request
from tmws_core.ports.storage import Snapshot, UnitOfWork

pytestmark = pytest.mark.anyio

NINE, TEN = "The gate opens at nine.", "The gate opens at ten."
ADA = Caller(agent_id="ada", namespace="acme", transport="python")


@attrs.define
class _Between:
    """A store in which something happens before the next unit begins, and whose snapshots may be of the past.

    It notes of which texts the words were made, and whether that was within a unit.
    """

    _storage: Any
    past: Snapshot | None = None
    meanwhile: Callable[[], Awaitable[object]] | None = None
    units: int = 0
    made: list[tuple[str, bool]] = attrs.Factory(list)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Snapshot]:
        if self.past is not None:
            yield self.past
            return
        async with self._storage.read() as snapshot:
            yield snapshot

    @asynccontextmanager
    async def write(self, agent_id: str = "") -> AsyncIterator[UnitOfWork]:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        async with self._storage.write(agent_id) as unit:
            self.units += 1
            try:
                yield unit
            finally:
                self.units -= 1

    async def count_words(self, texts: Sequence[str]) -> list[Counter[str] | None]:
        self.made += [(text, bool(self.units)) for text in texts]
        counts: list[Counter[str] | None] = await self._storage.count_words(texts)
        return counts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


@attrs.frozen
class Place:
    """An app, and another one over the same store in whose calls something comes between."""

    app: App
    other: App
    between: _Between
    parts: Parts
    clock: SettableClock
    operator: Caller

    def past(self) -> AbstractAsyncContextManager[None]:
        """Let the other app prepare what it does in the block from the store as it is now."""
        return _past(self)

    async def after(self, meanwhile: Request[Any], caller: Caller, request: Request[Any]) -> Any:
        """Make a call, between whose beginning and whose unit the operator makes another one."""
        self.between.meanwhile = lambda: self.app.call(self.operator, meanwhile)
        return await self.other.call(caller, request)

    async def history(self, memory_id: str) -> MemoryFound:
        return await self.app.call(ADA, GetMemory(memory_id=memory_id, include_history=True))

    async def texts(self) -> list[str]:
        page = await self.app.call(self.operator, ListMemories(oldest_first=True))
        return [memory.content for memory in page.memories]


@asynccontextmanager
async def _past(place: Place) -> AsyncIterator[None]:
    async with place.parts.storage.read() as snapshot:
        await snapshot.memories.visible(["none"], Visibility("ada", "acme"))
        place.between.past = snapshot
        yield
        place.between.past = None


@pytest.fixture
async def place(settings: Settings) -> AsyncIterator[Place]:
    async with open_parts(settings) as opened:
        between, clock = _Between(opened.storage), SettableClock(NOON)
        parts = attrs.evolve(opened, clock=clock)
        other = compose(settings, attrs.evolve(parts, storage=between))
        yield Place(compose(settings, parts), other, between, parts, clock, settings.operator())


async def create(app: App, content: str = NINE, **said: Any) -> str:
    return (await app.call(ADA, CreateMemory(content=content, **said))).memory_id


async def test_what_a_stale_snapshot_shows_is_no_repetition(place: Place) -> None:
    gone = await create(place.app, idempotency_key="k")
    async with place.past():
        await place.app.call(ADA, DeleteMemory(memory_id=gone))
        again = await place.other.call(ADA, CreateMemory(content=NINE, idempotency_key="k"))
        other = await place.other.call(ADA, CreateMemory(content=TEN))

    assert (again.stored, again.duplicate_of, other.stored) == (True, None, True)
    assert await place.texts() == [NINE, TEN]


async def test_nothing_is_refused_for_what_only_a_stale_snapshot_shows(place: Place) -> None:
    gone = await create(place.app, idempotency_key="k")
    async with place.past():
        await place.app.call(ADA, DeleteMemory(memory_id=gone))
        new = await create(place.app, TEN)
        assert (await place.other.call(ADA, CreateMemory(content="Closed.", idempotency_key="k"))).stored
        await place.other.call(ADA, UpdateMemory(memory_id=new, content="The gate opens at one."))

    assert await place.texts() == ["The gate opens at one.", "Closed."]


def _writes(memory_id: str) -> dict[str, Request[Any]]:
    return {
        "create": CreateMemory(content=TEN),
        "batch": CreateMemories(memories=(CreateMemory(content=TEN), CreateMemory(content="Closed."))),
        "repetition": CreateMemory(content=NINE),
        "update": UpdateMemory(memory_id=memory_id, content=TEN),
        "labels": UpdateMemory(memory_id=memory_id, tags=("gate",)),
        "share": ShareMemory(memory_id=memory_id, shared_with=("bob",)),
        "delete": DeleteMemory(memory_id=memory_id),
        "register": RegisterAgent(agent_id="new", namespace="acme"),
        "change": UpdateAgent(agent_id="bob", display_name="Bob"),
        "deactivate": DeactivateAgent(agent_id="bob"),
    }


@pytest.mark.parametrize("proven", [False, True], ids=["claimed", "proven"])
@pytest.mark.parametrize("what", [*_writes("01890a5d-ac96-774b-bcce-b302099a8057")])
async def test_who_loses_its_rights_during_a_call_writes_nothing(place: Place, what: str, *, proven: bool) -> None:
    boss = Role.NAMESPACE_ADMIN
    for agent_id, role in (("ada", boss), ("bob", Role.AGENT)):
        await place.app.call(place.operator, RegisterAgent(agent_id=agent_id, namespace="acme", role=role))
    request = _writes(await create(place.app))[what]
    caller = attrs.evolve(ADA, permissions=ROLES[boss], identified=True, registered=True) if proven else ADA

    with pytest.raises(Forbidden) as demoted:
        await place.after(UpdateAgent(agent_id="ada", role=Role.READER), caller, request)
    await place.app.call(place.operator, UpdateAgent(agent_id="ada", role=boss))
    with pytest.raises(AgentInactive):
        await place.after(DeactivateAgent(agent_id="ada"), caller, request)

    writes = what in ("register", "change", "deactivate")
    needed = Permission.MANAGE_NAMESPACE if writes else Permission.MEMORY_WRITE
    assert demoted.value.needs == f"the permission {needed.value}"
    page = await place.app.call(place.operator, ListMemories(details=True))
    assert [(memory.content, memory.version) for memory in page.memories] == [(NINE, 1)]


async def test_a_demoted_administrator_stores_no_system_memory(place: Place) -> None:
    await place.app.call(place.operator, RegisterAgent(agent_id="ada", namespace="acme", role=Role.ADMIN))
    with pytest.raises(Forbidden, match="system memories"):
        await place.after(
            UpdateAgent(agent_id="ada", role=Role.AGENT),
            ADA,
            CreateMemory(content=NINE, access_level=AccessLevel.SYSTEM),
        )
    assert await place.texts() == []


@pytest.mark.parametrize("acting", [False, True])
async def test_who_is_moved_during_a_call_tells_neither_team(place: Place, *, acting: bool) -> None:
    await place.app.call(place.operator, RegisterAgent(agent_id="ada", namespace="acme"))
    boss = RegisterAgent(agent_id="boss", namespace="acme", role=Role.NAMESPACE_ADMIN)
    await place.app.call(place.operator, boss)
    caller = Caller(agent_id="boss", namespace="acme") if acting else ADA
    proven = attrs.evolve(caller, identified=True, registered=True)
    if acting:
        proven = attrs.evolve(proven, permissions=ROLES[Role.NAMESPACE_ADMIN])
    with pytest.raises(Forbidden):
        await place.after(
            UpdateAgent(agent_id="ada", namespace="globex"),
            proven,
            CreateMemory(content=NINE, access_level=AccessLevel.TEAM, agent_id="ada"),
        )
    assert await place.texts() == []


async def test_nothing_is_stored_in_the_name_of_who_is_deactivated_meanwhile(place: Place) -> None:
    await create(place.app)
    with pytest.raises(AgentInactive):
        await place.after(DeactivateAgent(agent_id="ada"), place.operator, CreateMemory(content=TEN, agent_id="ada"))
    assert await place.texts() == [NINE]


async def test_a_change_is_dated_when_it_is_made_and_not_when_its_call_began(place: Place) -> None:
    memory_id = await create(place.app)
    place.clock.time = between = NOON + timedelta(hours=1)

    async def say_it_first() -> None:
        place.clock.time = NOON + timedelta(hours=2)
        await place.app.call(ADA, UpdateMemory(memory_id=memory_id, content=TEN))

    place.between.meanwhile = say_it_first
    again = await place.other.call(ADA, CreateMemory(content=TEN, tags=("gate",)))

    found = await place.history(memory_id)
    assert (again.duplicate_of, again.merged) == (memory_id, ("tags",))
    assert found.memory.updated_at == NOON + timedelta(hours=2)
    asked = SearchMemories(query="gate", mode=SearchMode.LEXICAL, as_of=between)
    assert [hit.content for hit in (await place.app.call(ADA, asked)).results] == [NINE]


@pytest.mark.parametrize("what", ["create", "update"])
async def test_what_waits_is_dated_when_it_is_stored(place: Place, what: str) -> None:
    memory_id = await create(place.app)
    request = _writes(memory_id)[what]

    async def wait() -> None:
        place.clock.time = NOON + timedelta(hours=1)

    place.between.meanwhile = wait
    stored = await place.other.call(ADA, request)

    memory = (await place.history(stored.memory_id)).memory
    assert memory.updated_at == NOON + timedelta(hours=1)
    assert memory.created_at == (memory.updated_at if what == "create" else NOON)


async def test_no_change_is_dated_before_the_one_before_it(place: Place) -> None:
    memory_id, replaced = await create(place.app), await create(place.app, TEN)
    await place.app.call(ADA, UpdateMemory(memory_id=replaced, superseded_by=memory_id))
    place.clock.time = NOON - timedelta(hours=1)

    await create(place.app, NINE, tags=("gate",))
    await place.app.call(ADA, UpdateMemory(memory_id=memory_id, content="The gate opens at one."))
    await place.app.call(ADA, ShareMemory(memory_id=memory_id, shared_with=("bob",)))
    found = await place.history(memory_id)
    await place.app.call(ADA, DeleteMemory(memory_id=memory_id))

    assert (found.memory.version, found.memory.updated_at) == (4, NOON)
    assert [(text.valid_from, text.valid_to) for text in found.history or ()] == [(NOON, NOON)]
    back = (await place.history(replaced)).memory
    assert (back.superseded_by, back.version, back.updated_at) == (None, 3, NOON)


async def test_the_words_of_what_has_expired_since_it_was_looked_for_are_made_outside_the_unit(place: Place) -> None:
    await create(place.app, expires_at=NOON + timedelta(hours=1))

    async def wait() -> None:
        place.clock.time = NOON + timedelta(hours=1)

    place.between.meanwhile = wait
    batch = CreateMemories(memories=(CreateMemory(content=NINE), CreateMemory(content=TEN)))
    stored = await place.other.call(ADA, batch)

    assert [each.stored for each in stored.results] == [True, True]
    assert place.between.made == [(TEN, False), (NINE, False)]
    words = SearchMemories(query="nine", mode=SearchMode.LEXICAL)
    assert [hit.content for hit in (await place.app.call(ADA, words)).results] == [NINE]


async def test_the_words_of_a_text_that_changes_while_its_date_does_are_made_outside_the_unit(place: Place) -> None:
    memory_id = await create(place.app)
    dated = UpdateMemory(memory_id=memory_id, occurred_at=NOON)

    async def say_otherwise() -> None:
        text = f"{(await place.history(memory_id)).memory.content} Or so."
        await place.app.call(ADA, UpdateMemory(memory_id=memory_id, content=text))

    async def again() -> None:
        await say_otherwise()
        place.between.meanwhile = again

    place.between.meanwhile = say_otherwise
    assert (await place.other.call(ADA, dated)).version == 3
    assert place.between.made == [(NINE, False), (f"{NINE} Or so.", False)]

    place.between.meanwhile = again
    with pytest.raises(VersionConflict) as refused:
        await place.other.call(ADA, attrs.evolve(dated, occurred_at=NOON - timedelta(days=1)))
    assert (refused.value.expected, refused.value.actual) == (5, 6)
    assert not any(within for _, within in place.between.made)
