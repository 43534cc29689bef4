"""The contract of DerivedIndex, kept by Chroma in this process and on a server."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from functools import partial
from itertools import count
from pathlib import Path

import anyio
import numpy as np
import pytest

from tests.contracts.builders import vector
from tests.contracts.chroma_server import running_server
from tmws_adapters.chroma import HnswParameters, open_chroma
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.errors import ConfigurationError, IndexUnavailable
from tmws_core.ports.index import DerivedIndex, IndexChange

pytestmark = pytest.mark.anyio

MODEL = EmbeddingModel(name="tests/two", dimension=2, digest="d1")
OTHER = EmbeddingModel(name="tests/three", dimension=3)

Open = Callable[..., AbstractAsyncContextManager[DerivedIndex]]
"""Opens the same index again and again; takes other parameters of `open_chroma` than the place."""

_prefixes = map("contract-{}".format, count())


@pytest.fixture(scope="module", params=["embedded", "server"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """Return the URL of a server, or None where the index is to be embedded."""
    with ExitStack() as stack:
        if request.param == "embedded":
            yield None
        else:
            yield stack.enter_context(running_server(tmp_path_factory.mktemp("server"))).url


@pytest.fixture
def reopen(place: str | None, tmp_path: Path) -> Open:
    return partial(open_chroma, directory=tmp_path / "chroma", url=place, collection=next(_prefixes))


@pytest.fixture
async def index(reopen: Open) -> AsyncIterator[DerivedIndex]:
    async with reopen() as opened:
        await opened.reset(MODEL)
        yield opened


def hold(document: int, *values: float, partition: str = "acme/public") -> IndexChange:
    return IndexChange(document=document, partition=partition, vector=vector(*values))


def forget(document: int, partition: str = "acme/public") -> IndexChange:
    return IndexChange(document=document, partition=partition, vector=None)


async def found(index: DerivedIndex, *partitions: str, limit: int = 10) -> list[int]:
    hits = await index.search(partitions or ["acme/public"], vector(1, 0), limit)
    return [hit.document for hit in hits]


async def test_the_nearest_comes_first_with_its_cosine(index: DerivedIndex) -> None:
    await index.apply([hold(1, -1, 0), hold(2, 3, 4), hold(3, 1, 0)])

    hits = await index.search(["acme/public"], vector(1, 0), 2)

    assert [hit.document for hit in hits] == [3, 2]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.6], abs=1e-6)


@pytest.mark.parametrize("space", ["l2", "ip"])
async def test_the_score_is_the_cosine_in_every_space(reopen: Open, space: str) -> None:
    async with reopen(parameters=HnswParameters(space=space)) as index:  # type: ignore[arg-type]  # pytest gives a str
        await index.reset(MODEL)
        await index.apply([hold(1, -1, 0), hold(2, 3, 4)])

        hits = await index.search(["acme/public"], vector(1, 0), 2)

    assert [hit.document for hit in hits] == [2, 1]
    assert [hit.score for hit in hits] == pytest.approx([0.6, -1.0], abs=1e-6)


async def test_equally_near_documents_come_newest_first(index: DerivedIndex) -> None:
    await index.apply([hold(document, 1, 0) for document in (2, 9, 5)])

    assert await found(index) == [9, 5, 2]


async def test_partitions_are_searched_alone_or_together(index: DerivedIndex) -> None:
    await index.apply([hold(1, 1, 0, partition="a"), hold(2, 4, 3, partition="b"), hold(3, 3, 4, partition="a")])

    assert await found(index, "a") == [1, 3]
    assert await found(index, "b") == [2]
    assert await found(index, "a", "b", limit=2) == [1, 2]


async def test_a_document_in_two_partitions_is_found_once(index: DerivedIndex) -> None:
    await index.apply([hold(1, 1, 0, partition="a"), hold(1, 1, 0, partition="b")])

    assert await found(index, "a", "b", "a") == [1]


async def test_names_of_partitions_are_taken_literally(index: DerivedIndex) -> None:
    names = ["", "a", "A", "a/ä", "名前", "x" * 2000, "a b\n"]
    await index.apply([hold(number, 1, 0, partition=name) for number, name in enumerate(names)])

    assert [await found(index, name) for name in names] == [[number] for number in range(len(names))]
    assert (await index.status()).partitions == dict.fromkeys(names, 1)


async def test_unknown_partitions_are_passed_over(index: DerivedIndex) -> None:
    await index.apply([hold(1, 1, 0)])

    assert await found(index, "nowhere") == []
    assert await found(index, "nowhere", "acme/public") == [1]
    assert (await index.documents("nowhere")).tolist() == []
    await index.apply([forget(1, "nowhere")])
    await index.drop("nowhere")
    assert (await index.status()).partitions == {"acme/public": 1}


async def test_a_limit_beyond_the_documents_finds_them_all(index: DerivedIndex) -> None:
    await index.apply([hold(document, 1, document) for document in range(1, 21)])

    assert await found(index, limit=1000) == list(range(1, 21))


async def test_a_limit_beyond_the_documents_finds_nearly_equal_ones_too(index: DerivedIndex) -> None:
    for start in range(0, 1000, 100):
        await index.apply([hold(document, 1, document) for document in range(start, start + 100)])

    assert sorted(await found(index, limit=1000)) == list(range(1000))


async def test_a_search_that_the_graph_cuts_short_says_so(index: DerivedIndex) -> None:
    for start in range(0, 1000, 100):
        await index.apply([hold(document, 1, document) for document in range(start, start + 100)])

    with pytest.raises(IndexUnavailable, match="a search for 999 of 1000 documents finds too few"):
        await found(index, limit=999)


async def test_forgotten_documents_are_not_found(index: DerivedIndex) -> None:
    await index.apply([hold(1, 1, 0), hold(2, 1, 1), hold(3, 1, 2)])
    await index.apply([forget(1), forget(3), forget(77)])

    assert await found(index) == [2]
    assert (await index.documents("acme/public")).tolist() == [2]


async def test_an_emptied_partition_finds_nothing(index: DerivedIndex) -> None:
    await index.apply([hold(1, 1, 0)])
    await index.apply([forget(1)])

    assert await found(index) == []
    assert (await index.status()).partitions == {"acme/public": 0}


async def test_changes_count_in_their_order(index: DerivedIndex) -> None:
    await index.apply([hold(1, 1, 0), forget(1), hold(2, 0, 1), forget(2), hold(2, 3, 4), hold(3, 1, 0), hold(3, 0, 1)])

    hits = await index.search(["acme/public"], vector(1, 0), 9)

    assert {hit.document: round(hit.score, 5) for hit in hits} == {2: 0.6, 3: 0.0}


async def test_changes_that_are_made_again_change_nothing(index: DerivedIndex) -> None:
    changes = [hold(1, 1, 0), hold(2, 3, 4), hold(3, 1, 0), forget(3)]
    await index.apply(changes)
    before = await index.search(["acme/public"], vector(1, 0), 9)

    await index.apply(changes)

    assert await index.search(["acme/public"], vector(1, 0), 9) == before
    assert (await index.documents("acme/public")).tolist() == [1, 2]


async def test_more_changes_than_a_request_takes_are_all_made(index: DerivedIndex) -> None:
    await index.apply([hold(document, 1, document) for document in range(3000, 0, -1)])
    await index.apply([forget(document) for document in range(1, 2999)])

    assert (await index.documents("acme/public")).tolist() == [2999, 3000]


async def test_a_dropped_partition_is_forgotten_and_may_come_again(index: DerivedIndex) -> None:
    await index.apply([hold(1, 1, 0, partition="a"), hold(2, 1, 0, partition="b")])
    await index.drop("a")

    assert await found(index, "a", "b") == [2]
    await index.apply([hold(3, 1, 0, partition="a")])
    assert await found(index, "a", "b") == [3, 2]


async def test_a_reset_forgets_everything_and_takes_another_model(index: DerivedIndex) -> None:
    await index.apply([hold(document, 1, 0, partition=f"p{document}") for document in range(5)])
    await index.reset(OTHER)

    status = await index.status()
    assert (status.partitions, status.model) == ({}, OTHER)
    await index.apply([hold(7, 1, 0, 0)])
    assert [hit.document for hit in await index.search(["acme/public", "p1"], vector(1, 0, 0), 9)] == [7]


async def test_vectors_of_another_dimension_are_refused_and_nothing_changes(index: DerivedIndex) -> None:
    await index.apply([hold(1, 1, 0)])

    with pytest.raises(IndexUnavailable, match="tests/two with 2 values"):
        await index.apply([hold(2, 1, 0), hold(3, 1, 0, 0)])
    with pytest.raises(IndexUnavailable, match="tests/two with 2 values"):
        await index.search(["acme/public"], vector(1, 0, 0), 3)
    assert await found(index) == [1]


async def test_an_index_that_was_never_begun_says_so(reopen: Open) -> None:
    async with reopen() as index:
        assert (await index.status()).model is None
        with pytest.raises(IndexUnavailable, match="tmws index rebuild"):
            await found(index)
        with pytest.raises(IndexUnavailable, match="never filled"):
            await index.apply([hold(1, 1, 0)])


async def test_status_counts_and_names_the_parameters(index: DerivedIndex) -> None:
    await index.apply([hold(1, 1, 0, partition="a"), hold(2, 1, 0, partition="b"), hold(3, 0, 1, partition="a")])

    status = await index.status()

    assert (status.partitions, status.model) == ({"a": 2, "b": 1}, MODEL)
    assert {"space": "cosine", "m": 16, "ef_construction": 200, "ef_search": 100}.items() <= status.parameters.items()
    assert index.source == "chroma"


async def test_a_reopened_index_still_holds_everything(reopen: Open) -> None:
    async with reopen() as index:
        await index.reset(MODEL)
        await index.apply([hold(document, 1, document) for document in range(1, 1501)])
    async with reopen() as index:
        assert await found(index, limit=3) == [1, 2, 3]
        assert (await index.documents("acme/public")).tolist() == list(range(1, 1501))
        assert (await index.status()).model == MODEL


async def test_more_partitions_than_one_page_are_all_counted_and_reset(
    index: DerivedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_adapters.chroma.partitions.PAGE", 3)
    await index.apply([hold(document, 1, 0, partition=f"p{document}") for document in range(8)])

    assert (await index.status()).partitions == {f"p{document}": 1 for document in range(8)}
    await index.reset(MODEL)
    assert (await index.status()).partitions == {}


async def test_indexes_with_other_collections_are_left_alone(place: str | None, tmp_path: Path) -> None:
    for name in ("mine", "mine-2"):
        async with open_chroma(directory=tmp_path, url=place, collection=name) as index:
            await index.reset(MODEL)
            await index.apply([hold(1, 1, 0)])
    async with open_chroma(directory=tmp_path, url=place, collection="mine") as index:
        await index.reset(MODEL)
        assert (await index.status()).partitions == {}
    async with open_chroma(directory=tmp_path, url=place, collection="mine-2") as index:
        assert await found(index) == [1]


async def test_searches_while_changes_are_made_see_whole_batches_of_the_past(index: DerivedIndex) -> None:
    batches = [range(start, start + 50) for start in range(0, 1000, 50)]
    seen: list[int] = []

    async def search() -> None:
        while not seen or seen[-1] < 1000:
            try:
                documents = await found(index, limit=2000)
            except IndexUnavailable:
                # A server that writes the files of a partition for the first time finds "nothing on disk" meanwhile.
                continue
            assert sorted(documents) == list(range(len(documents)))
            seen.append(len(documents))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(search)
        tasks.start_soon(search)
        for batch in batches:
            await index.apply([hold(document, 1, document) for document in batch])

    assert len(set(seen)) > 1


async def test_changes_at_the_same_time_are_all_made(index: DerivedIndex) -> None:
    async with anyio.create_task_group() as tasks:
        for start in range(0, 500, 50):
            tasks.start_soon(index.apply, [hold(document, 1, document) for document in range(start, start + 50)])

    assert (await index.documents("acme/public")).tolist() == list(range(500))


async def test_a_reset_while_searches_run_ends_none_of_them_wrongly(index: DerivedIndex) -> None:
    answers: set[int] = set()
    await index.apply([hold(document, 1, document) for document in range(100)])

    async def search() -> None:
        while 0 not in answers:
            try:
                answers.add(len(await found(index, limit=200)))
            except IndexUnavailable as error:
                assert error.remedy  # noqa: PT017 - other errors fail the test

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(search)
        await index.reset(MODEL)

    assert answers <= {0, 100}


async def test_nine_of_ten_and_more_neighbours_are_the_true_ones(index: DerivedIndex) -> None:
    generator = np.random.default_rng(5)
    centres = generator.standard_normal((40, 64))
    rows = centres[generator.integers(0, 40, 5000)] + 0.4 * generator.standard_normal((5000, 64))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f4")
    vectors = [Vector(row.tobytes()) for row in rows]
    await index.reset(EmbeddingModel(name="tests/clusters", dimension=64))
    await index.apply(
        [IndexChange(document=document, partition="a", vector=each) for document, each in enumerate(vectors)]
    )

    hits = 0
    for query in range(0, 5000, 100):
        best = np.argsort(-(rows @ rows[query]), kind="stable")[:10].tolist()
        hits += len({hit.document for hit in await index.search(["a"], vectors[query], 10)} & set(best))
    wide = await index.search(["a"], vectors[0], 400)
    widest = set(np.argsort(-(rows @ rows[0]), kind="stable")[:400].tolist())

    assert hits / 500 >= 0.99
    assert len({hit.document for hit in wide} & widest) / 400 >= 0.98


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({"url": "ftp://example.org"}, "TMWS_CHROMA_URL"),
        ({"url": "http://"}, "TMWS_CHROMA_URL"),
        ({"url": "http://ada:secret@example.org:port"}, "TMWS_CHROMA_URL"),
        ({"url": None}, "TMWS_CHROMA_PERSIST_DIRECTORY"),
        ({"url": "http://127.0.0.1", "collection": "-x-"}, "TMWS_CHROMA_COLLECTION"),
        ({"url": "http://127.0.0.1", "collection": "ab"}, "TMWS_CHROMA_COLLECTION"),
    ],
)
async def test_malformed_settings_are_named(arguments: dict[str, str], setting: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        async with open_chroma(directory=None, **arguments):  # type: ignore[arg-type]  # a dict of keywords
            pytest.fail("it opened")
    assert caught.value.setting == setting
    assert "secret" not in str(caught.value)
