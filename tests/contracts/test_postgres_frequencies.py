"""How frequent a word is: counted where it is rare, and estimated where it is not."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.contracts.builders import memory, new, scope
from tests.contracts.steps import store
from tests.servers.postgres import PostgresServer
from tmws_adapters.postgres import open_postgres
from tmws_adapters.postgres.frequencies import Frequencies
from tmws_adapters.postgres.samples import Samples
from tmws_adapters.postgres.session import Session
from tmws_core.domain.memory import Memory

pytestmark = pytest.mark.anyio

COUNT, EXACT = 300, 20


@pytest.fixture
async def session(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Session]:
    monkeypatch.setattr("tmws_adapters.postgres.frequencies.EXACT", EXACT)
    with postgres.database() as url:
        async with open_postgres(url) as opened:
            await store(opened.storage, *(new(numbered(number)) for number in range(COUNT)))
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                yield Session(connection)


def numbered(number: int) -> Memory:
    words = ["all"]
    words += ["second"] * (number % 2 == 0)
    words += ["rare"] * (number % 16 == 0)
    words += ["late"] * (number >= COUNT - 60)
    words += ["begin"] * (number < 60)
    return memory(content=" ".join(words))


async def test_rare_words_are_counted_and_frequent_ones_estimated(session: Session) -> None:
    frequencies = Frequencies()
    await frequencies.state(session)

    found = await frequencies.counted(session, ["all", "second", "rare", "late", "begin", "none"])

    assert (found["rare"], found["none"]) == (19, 0)
    assert found["all"] == pytest.approx(COUNT, rel=0.05)
    assert found["second"] == pytest.approx(COUNT / 2, rel=0.05)
    # What is said at one end of the store only is not taken for frequent everywhere.
    assert EXACT <= found["late"] < 80
    assert EXACT <= found["begin"] < 80


async def test_a_search_keeps_the_counts_of_its_words_while_others_have_them_forgotten(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_adapters.postgres.samples.KEPT_WORDS", 0)
    samples = Samples()

    first = await samples.of(session, scope(), ["rare", "all"], 10, COUNT - 1)
    second = await samples.of(session, scope(), ["second", "rare"], 10, COUNT - 1)

    assert (first.counts, first.crowded) == ({"rare": 19, "all": COUNT}, {"all"})
    assert (second.counts, second.crowded) == ({"second": COUNT // 2, "rare": 19}, set())
