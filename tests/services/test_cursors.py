"""Cursors, and what is remembered between searches: neither is of use to anybody else."""

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from itertools import product
from pathlib import Path

import attrs
import pytest

from tests.services.conftest import World
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import AccessLevel
from tmws_core.errors import InvalidField
from tmws_core.messages.agents import ListAgents, RegisterAgent
from tmws_core.messages.memory import CreateMemories, CreateMemory, ListMemories
from tmws_core.messages.search import SearchMemories
from tmws_core.wire import unstructure

pytestmark = pytest.mark.anyio

FIRST, SECOND = "a" * 32, "b" * 32

Paged = ListMemories | SearchMemories | ListAgents
PAGED: tuple[Paged, ...] = (ListMemories(limit=1), SearchMemories(query="garden", limit=1), ListAgents(limit=1))
OPERATIONS = {ListMemories: "list_memories", SearchMemories: "search_memories", ListAgents: "list_agents"}
named = pytest.mark.parametrize("request_", PAGED, ids=lambda each: type(each).__name__)


async def fill(world: World) -> None:
    texts = tuple(CreateMemory(content=f"The garden {n}.", access_level=AccessLevel.PUBLIC) for n in range(3))
    await world.app.call(world.agent("athena"), CreateMemories(memories=texts))
    for name in ("artemis", "apollo"):
        await world.app.call(world.operator, RegisterAgent(agent_id=name, namespace="acme"))


async def next_cursor(app: App, caller: Caller, request: Paged) -> str:
    found = await app.call_wire(caller, OPERATIONS[type(request)], unstructure(request))
    return str(found["next_cursor"])


async def refused(call: Awaitable[object]) -> None:
    with pytest.raises(InvalidField) as refusal:
        await call
    assert refusal.value.field == "cursor"


@named
async def test_a_cursor_is_good_for_its_caller_only(world: World, request_: Paged) -> None:
    await fill(world)
    cursor = await next_cursor(world.app, world.agent("athena"), request_)
    more = attrs.evolve(request_, cursor=cursor)

    await world.app.call(world.agent("athena"), more)

    for other in (world.agent("artemis"), world.agent("athena", "globex"), world.operator):
        await refused(world.app.call(other, more))


def made_with(seal: Callable[[bytes], bytes], request: Paged, position: str) -> str:
    """Return what somebody makes who knows all of the program and not the secret."""
    text = json.dumps(unstructure(attrs.evolve(request, cursor=None, limit=1)), sort_keys=True)
    sealed = seal(json.dumps([text, position]).encode()) + position.encode()
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


@named
async def test_a_cursor_that_somebody_made_is_refused(world: World, request_: Paged) -> None:
    await fill(world)
    for position, length in product(["1", "9" * 30, "not a number", "\N{SUPERSCRIPT TWO}", ""], [9, 16]):
        forged = made_with(lambda text: hashlib.sha256(text).digest()[:length], request_, position)  # noqa: B023 - used at once
        await refused(world.app.call(world.agent("athena"), attrs.evolve(request_, cursor=forged)))


@named
async def test_a_cursor_survives_a_restart_and_a_change_of_the_secret(
    world: World, settings: Settings, request_: Paged, tmp_path: Path
) -> None:
    await fill(world)
    athena = world.agent("athena")
    cursor = await next_cursor(world.app, athena, request_)
    given = attrs.evolve(settings, secret_key=FIRST)
    elsewhere = attrs.evolve(given, home=tmp_path / "elsewhere", database_url=settings.database_url)
    if not settings.uses_postgres:
        elsewhere = given
    async with open_app(settings) as app:
        await app.call(athena, attrs.evolve(request_, cursor=cursor))
    async with open_app(given) as app:
        await refused(app.call(athena, attrs.evolve(request_, cursor=cursor)))
        cursor = await next_cursor(app, athena, request_)
    async with open_app(elsewhere) as app:
        await app.call(athena, attrs.evolve(request_, cursor=cursor))
    changed = attrs.evolve(elsewhere, secret_key=SECOND)
    async with open_app(attrs.evolve(changed, secret_key_previous=FIRST)) as app:
        await app.call(athena, attrs.evolve(request_, cursor=cursor))
    over = attrs.evolve(changed, secret_key_previous=FIRST, secret_key_previous_until="2020-01-01T00:00:00Z")
    for late in (changed, over):
        async with open_app(late) as app:
            await refused(app.call(athena, attrs.evolve(request_, cursor=cursor)))


async def test_a_cursor_works_while_no_secret_can_be_kept(world: World, settings: Settings) -> None:
    await fill(world)
    athena = world.agent("athena")
    (settings.home / "secret_key").mkdir()
    async with open_app(settings) as app:
        cursor = await next_cursor(app, athena, ListMemories(limit=1))
        await app.call(athena, ListMemories(limit=1, cursor=cursor))


async def test_what_others_have_asked_before_is_not_known_any_sooner(world: World) -> None:
    """The embedder is asked for every agent's first question, whoever asked the same one before."""
    await fill(world)
    question = SearchMemories(query="Where is the garden?")
    asked: list[int] = []
    for caller in (
        world.agent("athena"),
        world.agent("athena"),
        world.agent("artemis"),
        world.agent("athena", "globex"),
        world.operator,
    ):
        before = len(world.ollama.asked("/api/embed"))
        await world.app.call(caller, question)
        asked.append(len(world.ollama.asked("/api/embed")) - before)
    assert asked == [1, 0, 1, 1, 1]
