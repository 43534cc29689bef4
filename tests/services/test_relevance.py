"""What is relevant, and what is asked for as it stands: strings, ids and the first digits of them."""

import anyio
import attrs
import pytest

from tests.contracts.builders import memory, new
from tests.contracts.ollama_double import OllamaDouble
from tests.services.conftest import World
from tests.services.model_change import texts_asked
from tests.stacks import rows
from tmws_adapters.bootstrap import compose, open_app, open_parts
from tmws_adapters.settings import Settings
from tmws_core.domain.relevance import Relevance
from tmws_core.domain.text import Lexical, lexical_document
from tmws_core.embedding.calibration import PAIRS
from tmws_core.errors import InvalidField, MemoryNotFound
from tmws_core.messages.memory import CreateMemories, CreateMemory, GetMemory
from tmws_core.messages.search import SearchMemories, SearchMode
from tmws_core.services import indexing

pytestmark = pytest.mark.anyio


async def test_an_answer_says_when_it_holds_nothing_relevant(world: World) -> None:
    athena = world.agent("athena")
    facts = ("The rose blooms in the garden.", "The printer is on the second floor.", "Tea is in the kitchen.")
    await world.app.call(athena, CreateMemories(memories=tuple(CreateMemory(content=fact) for fact in facts)))

    async def found(query: str) -> tuple[bool, list[Relevance]]:
        request = SearchMemories(query=query, mode=SearchMode.LEXICAL)
        answer = await world.app.call(athena, request)
        return answer.nothing_relevant, [hit.relevance for hit in answer.results]

    assert await found("Where is the printer?") == (False, [Relevance.STRONG])
    assert await found("quantum physics of black holes inside a garden on Mars") == (True, [Relevance.WEAK])
    assert await found("quantum physics") == (True, [])


async def test_a_page_behind_relevant_hits_does_not_say_that_nothing_is(world: World) -> None:
    athena = world.agent("athena")
    texts = ("The rose blooms in the garden.", *(f"A long note, number {number}, on a rose." for number in range(12)))
    await world.app.call(athena, CreateMemories(memories=tuple(CreateMemory(content=text) for text in texts)))
    request = SearchMemories(query="Which rose blooms in the garden?", mode=SearchMode.LEXICAL, limit=1)
    first = await world.app.call(athena, request)
    second = await world.app.call(athena, attrs.evolve(request, cursor=first.next_cursor))
    assert ([hit.relevance for hit in second.results], second.nothing_relevant) == ([Relevance.WEAK], False)


async def _store(world: World, *contents: str, agent: str = "athena") -> list[str]:
    batch = CreateMemories(memories=tuple(CreateMemory(content=content) for content in contents))
    return [each.memory_id for each in (await world.app.call(world.agent(agent), batch)).results]


@pytest.mark.parametrize(
    ("query", "exact", "others"),
    [
        ("2.4.7", "We moved to 2.4.7 because of a fault.", ("7.4.2", "2.7.4 is out", "4.2.7", "12.4.7")),
        (
            "deadline 2024-03-05",
            "The deadline of all papers is 2024-03-05.",
            ("deadline 2024-05-03", "05 deadline 2024"),
        ),
        ("10.0.0.17", "The printer has the address 10.0.0.17.", ("10.0.17.0", "17.0.0.10", "0.10.17.0")),
        ("C#", "The plug-in is written in C#.", ("C++", "C", "Vitamin C")),
        ("who likes 🌹", "Ana likes \U0001f339.", ("Ana likes 🌵", "who likes, likes, likes")),
    ],
)
async def test_strings_as_they_stand_come_first(world: World, query: str, exact: str, others: tuple[str, ...]) -> None:
    await _store(world, exact, *others)
    for mode in (SearchMode.HYBRID, SearchMode.LEXICAL):
        found = await world.app.call(world.agent("athena"), SearchMemories(query=query, mode=mode, limit=1))
        if found.results or mode is SearchMode.HYBRID:
            assert (found.results[0].content, found.results[0].relevance) == (exact, Relevance.STRONG)


async def test_a_string_is_found_behind_hundreds_with_rarer_words(world: World) -> None:
    animals = ("zebra", "quagga", "okapi")
    near = (f"The {animals[n % 3]} {n} has the number 7.4.2, and much else that makes this longer." for n in range(300))
    await _store(world, "Since 2.4.7.", *near)
    query = SearchMemories(query="zebra, quagga, okapi of 2.4.7", mode=SearchMode.LEXICAL)
    found = await world.app.call(world.agent("athena"), query)
    assert found.results[0].content == "Since 2.4.7."


async def test_pages_of_a_search_for_a_string_hold_every_hit_once(world: World) -> None:
    ids = await _store(world, *(f"Release {n}.4.7 is out, after {n - 1}.4.7." for n in range(1, 60)))
    seen = await world.pages(SearchMemories(query="Which release is 2.4.7?", limit=10))
    assert sorted(seen) == sorted(ids)
    assert set(seen[:2]) == {ids[1], ids[2]}


async def test_a_memory_is_found_by_its_id_or_the_first_digits_of_it(world: World) -> None:
    first, *_, last = await _store(world, "The rose blooms.", *(f"Note {number}." for number in range(20)))
    (secret,) = await _store(world, "A secret.", agent="artemis")
    athena = world.agent("athena")

    async def found(query: str) -> list[str]:
        return [hit.memory_id for hit in (await world.app.call(athena, SearchMemories(query=query, limit=100))).results]

    assert [(await found(query))[0] for query in (first, last, last.upper(), last.replace("-", ""))] == [
        first,
        *[last] * 3,
    ]
    assert (await found(f" {last[:35]} "))[0] == last
    assert (await found(first[:8]))[0] == first
    assert secret not in await found(secret)


async def test_a_memory_is_read_by_digits_of_its_id_that_no_other_has(world: World) -> None:
    first, second = await _store(world, "The rose blooms.", "The tulip blooms.")
    (secret,) = await _store(world, "A secret.", agent="artemis")
    athena = world.agent("athena")
    alike = next(length for length in range(36) if first[length] != second[length])
    assert (
        await world.app.call(athena, GetMemory(memory_id=second[: alike + 1]))
    ).memory.content == "The tulip blooms."
    with pytest.raises(InvalidField) as refusal:
        await world.app.call(athena, GetMemory(memory_id=first[:8]))
    assert first in refusal.value.message
    assert second in refusal.value.message
    assert secret not in refusal.value.message
    with pytest.raises(MemoryNotFound):
        await world.app.call(athena, GetMemory(memory_id=secret[:35]))
    own = GetMemory(memory_id=secret[:8], include_history=True)
    assert (await world.app.call(world.agent("artemis"), own)).memory.memory_id == secret


async def test_what_a_version_before_has_indexed_is_found_by_the_letters_that_it_has(settings: Settings) -> None:
    former, other = memory(content="Züge nach Łódź"), memory(content="Züge nach Gdańsk")
    async with open_parts(settings) as parts:
        lexical = Lexical(lexical_document(former.content, plain=False))
        async with parts.storage.write() as unit:
            await unit.changes.add([attrs.evolve(new(former), lexical=lexical), new(other)])
        request = SearchMemories(query="Łódź", mode=SearchMode.LEXICAL)
        found = await compose(settings, parts).call(settings.operator(), request)
        assert [hit.content for hit in found.results] == [former.content]
        assert found.results[0].relevance is Relevance.STRONG


async def test_a_hash_is_found_by_its_first_digits_and_by_all_of_them(settings: Settings) -> None:
    whole = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"
    former, later, other = (
        memory(content=f"Fixed in {digits}.") for digits in (whole[::-1], whole, "1234567890abcdef")
    )
    async with open_parts(settings) as parts:
        lexical = Lexical(lexical_document(former.content, plain=False))
        async with parts.storage.write() as unit:
            await unit.changes.add([attrs.evolve(new(former), lexical=lexical), new(later), new(other)])
        app = compose(settings, parts)
        for query, content in (
            (whole[:7], later.content),
            (whole[:12].upper(), later.content),
            (whole[::-1], former.content),
        ):
            request = SearchMemories(query=query, mode=SearchMode.LEXICAL)
            found = await app.call(settings.operator(), request)
            assert [(hit.content, hit.relevance) for hit in found.results] == [(content, Relevance.STRONG)]


async def test_what_cosines_mean_is_measured_once_for_a_model_and_kept_with_it(
    settings: Settings, ollama: OllamaDouble
) -> None:
    operator = settings.operator()
    unrelated = SearchMemories(query="quantum physics of black holes", mode=SearchMode.SEMANTIC)

    def measured() -> int:
        return texts_asked(ollama).count(PAIRS[0][1])

    async with open_parts(settings) as parts:
        app = compose(settings, parts)
        await parts.embedder.calibrate()
        assert measured() == 0
        await app.call(operator, CreateMemory(content="The rose blooms in the garden."))
        unknown = await app.call(operator, unrelated)
        assert [hit.relevance for hit in unknown.results] == [Relevance.FAIR]
        await parts.embedder.calibrate()
        assert (await app.call(operator, unrelated)).nothing_relevant
    async with open_parts(settings) as parts:
        app = compose(settings, parts)
        assert (await app.call(operator, unrelated)).nothing_relevant
        related = attrs.evolve(unrelated, query="Which rose blooms in the garden?")
        assert not (await app.call(operator, related)).nothing_relevant
        await parts.embedder.calibrate()
    assert measured() == 1


async def test_an_open_service_measures_what_cosines_mean_by_itself(
    settings: Settings, ollama: OllamaDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "RETRY_SECONDS", 0.02)
    async with open_app(settings) as app:
        await app.call(settings.operator(), CreateMemory(content="The rose blooms in the garden."))
        await app.call(settings.operator(), SearchMemories(query="rose"))
        with anyio.fail_after(30):
            while (1,) not in rows(settings, "SELECT count(*) FROM embedding_models WHERE related > unrelated"):  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.01)
    assert PAIRS[0][1] in texts_asked(ollama)
