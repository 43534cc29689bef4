"""The first wall alone: what a query asks for by itself, as a role that row-level security does not bind."""

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from tests.contracts.builders import MODEL, memory, new, scope, vector
from tests.contracts.steps import store
from tests.servers.postgres import PostgresServer
from tmws_adapters.postgres import PostgresStore, open_postgres
from tmws_core.domain.access import Visibility
from tmws_core.domain.memory import AccessLevel, Memory, Share
from tmws_core.ports.storage import Searchable

pytestmark = pytest.mark.anyio

ADA = Visibility("ada", "acme")
EVE = {"agent_id": "eve", "namespace": "globex"}
QUERY = vector(1, 0, 0, 0)


@pytest.fixture
def hidden() -> list[Memory]:
    """Return memories that Ada may not see."""
    return [
        memory(**EVE),
        memory(**EVE, access_level=AccessLevel.TEAM),
        memory(**EVE, access_level=AccessLevel.SHARED, shared_with=(Share("bob"),)),
    ]


@pytest.fixture
def seen() -> list[Memory]:
    """Return memories that she may see."""
    return [
        memory(),
        memory(agent_id="bob", access_level=AccessLevel.TEAM),
        memory(**EVE, access_level=AccessLevel.SHARED, shared_with=(Share("ada"),)),
        memory(**EVE, access_level=AccessLevel.PUBLIC),
    ]


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as created:
        yield postgres.superuser_url(str(psycopg.conninfo.conninfo_to_dict(created)["dbname"]))


@pytest.fixture
async def opened(url: str, hidden: list[Memory], seen: list[Memory]) -> AsyncIterator[PostgresStore]:
    async with open_postgres(url) as opened:
        await store(opened.storage, *(new(each, vector=QUERY) for each in (*hidden, *seen)))
        assert (await opened.storage.health()).caution
        yield opened


async def test_every_read_asks_for_what_its_caller_may_see(
    opened: PostgresStore, hidden: list[Memory], seen: list[Memory]
) -> None:
    wanted, everything = {each.id for each in seen}, [each.id for each in (*hidden, *seen)]
    async with opened.storage.read() as snapshot:
        memories = snapshot.memories
        page = await memories.page(scope(ADA), after=None, limit=99, order="oldest")
        assert {each.id for each in page} == wanted
        assert await memories.visible(everything, ADA) == wanted
        every = await memories.searchable(scope())
        mine = await memories.searchable(scope(ADA))
        assert {each.id for each in (await memories.of_documents(every.documents, scope(ADA))).values()} == wanted
        assert {each.document for each in page} == set(mine.documents)
        assert (await memories.stats(ADA)).total == len(seen)
        for each in hidden:
            assert await memories.visible([each.id], ADA) == set()


async def test_every_search_asks_for_what_its_caller_may_see(opened: PostgresStore, seen: list[Memory]) -> None:
    async with opened.storage.read() as snapshot:
        wanted = set((await snapshot.memories.searchable(scope(ADA))).documents)
    assert len(wanted) == len(seen)
    searchable = Searchable(scope=scope(ADA), model=MODEL)

    found = [
        await opened.lexical.search(scope(ADA), ["memory"], 99),
        (await opened.vectors.search(searchable, QUERY, 99)).hits,
    ]

    assert [{hit.document for hit in hits} for hits in found] == [wanted, wanted]
