"""The demonstration: TMWS reads its own documentation, and answers three questions from it."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import anyio
import attrs

from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings
from tmws_cli.output import clipped
from tmws_cli.progress import progress
from tmws_cli.transfer.importing import Import
from tmws_cli.transfer.pages import MarkdownPages
from tmws_cli.transfer.records import Item, Record
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.errors import PartUnavailable
from tmws_core.messages.memory import ALL
from tmws_core.messages.search import MemoryHit, SearchMemories
from tmws_core.messages.system import GetSystemStats, HealthCheck

QUESTIONS = (
    "How do I connect Claude Code?",
    "What happens to my memories when Ollama is down?",
    "Who can read a private memory?",
)

PARTS = ("README.md", "explanation/", "how-to/")
"""The pages that are read, for what they say; with tutorial, reference and decisions it would be twice as much."""

FIGURES = ("explanation/performance", "explanation/capacity")
"""Pages that hold tables of figures: a tenth of the time, and no answer to a question."""

STANDSTILL_SECONDS = 90.0
"""How long no section may get its vector before the questions are asked: a batch of a slow machine takes 5, of one with
six times the work that it can do 30."""

FAILING_SECONDS = 10.0
"""The same where the embedder is down by then."""

_LOOK_SECONDS = 0.05

_EXCERPT_COLUMNS = 100


@attrs.frozen(kw_only=True)
class Answer:
    """The best section for a question, and how long it took to find."""

    question: str
    hit: MemoryHit
    milliseconds: float

    def wire(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "question": self.question,
            "page": self.hit.session_id,
            "section": self.section,
            "score": self.hit.score,
            "excerpt": self.excerpt,
            "latency_ms": self.milliseconds,
        }

    @property
    def section(self) -> str:
        """Return the headings that lead to the section."""
        return self.hit.content.split("\n", 1)[0]

    @property
    def excerpt(self) -> str:
        """Return the beginning of the section's first line."""
        lines = (line for line in self.hit.content.split("\n")[1:] if line.strip())
        return clipped(next(lines, ""), _EXCERPT_COLUMNS)


@attrs.define
class _Part:
    """A Source: what stands in some of the pages."""

    items: list[Item]
    position: int = 0

    @property
    def total(self) -> int:
        """Return how many there are."""
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        for item in self.items:
            self.position += 1
            yield item


@attrs.frozen(kw_only=True)
class Demonstration:
    """What the demonstration did."""

    pages: int
    memories: int
    seconds: float
    answers: tuple[Answer, ...]
    waiting: int = 0
    """How many sections have no vector yet, and are found by words alone."""


async def demonstrate(settings: Settings) -> Demonstration:
    """Import the documentation into a store that is thrown away afterwards, and ask the questions.

    The user's own store is not opened, whatever the settings say; their embedder is used. How far it is, stderr shows
    where it is a terminal.

    Raises:
        PartUnavailable: the documentation is not installed.
    """
    started = perf_counter()
    parts = _parts()
    with TemporaryDirectory(prefix="tmws-demo-") as home:
        temporary = attrs.evolve(settings, home=Path(home), database_url="")
        async with open_app(temporary) as app:
            caller = temporary.operator(transport="cli")
            runs = [Import(app=app, caller=caller, on_refusal=lambda _: None) for _ in parts]
            with progress("demo", sum(part.total for part in parts)) as report:
                # At once, so that no processor waits: each import embeds one batch after the other.
                async with anyio.create_task_group() as tasks:
                    for run, part in zip(runs, parts, strict=True):
                        tasks.start_soon(run.run, part, lambda _, __: report(sum(each.tally.done for each in runs), 0))
                waiting = await _without_vectors(app, caller)
            seconds = perf_counter() - started
            answers = [await _ask(app, caller, question) for question in QUESTIONS]
    return Demonstration(
        pages=len({item.request.session_id for part in parts for item in part.items if isinstance(item, Record)}),
        memories=sum(run.tally.stored for run in runs),
        seconds=round(seconds, 2),
        answers=tuple(answer for answer in answers if answer is not None),
        waiting=waiting,
    )


async def _without_vectors(app: App, caller: Caller) -> int:
    """Wait until all have their vector, for as long as the work gets on; return how many have none."""
    fewest = waiting = (await app.call(caller, GetSystemStats())).unembedded
    moved, patience = anyio.current_time(), FAILING_SECONDS
    while waiting and anyio.current_time() < moved + patience:
        await anyio.sleep(_LOOK_SECONDS)
        waiting = (await app.call(caller, GetSystemStats())).unembedded
        if waiting < fewest:
            fewest, moved, patience = waiting, anyio.current_time(), FAILING_SECONDS
        elif patience == FAILING_SECONDS and anyio.current_time() >= moved + patience and await _works(app, caller):
            patience = STANDSTILL_SECONDS
    return waiting


async def _works(app: App, caller: Caller) -> bool:
    """Tell whether all parts are up, the embedder among them."""
    health = await app.call(caller, HealthCheck())
    return all(component.status == "up" for component in health.components.values())


async def _ask(app: App, caller: Caller, question: str) -> Answer | None:
    found = await app.call(caller, SearchMemories(query=question, limit=1, max_chars=ALL, details=True))
    return next((Answer(question=question, hit=hit, milliseconds=found.latency_ms) for hit in found.results), None)


def _parts() -> list[_Part]:
    """Return what is read, in parts that can be stored at once."""
    items = [item for path in _places() for item in MarkdownPages.at(path, ignore_unknown=False)]
    told = [item for item in items if isinstance(item, Record) and not item.place.startswith(FIGURES)]
    pages = [[item for item in told if item.place.startswith(part)] for part in PARTS]
    return [_Part([*found]) for found in pages if found]


def _places() -> list[Path]:
    """Return where the pages are: in the installed package, or in the checkout around it."""
    packaged = Path(__file__).with_name("_docs")
    checkout = Path(__file__).parents[1]
    for places in ([packaged], [checkout / "docs", checkout / "README.md"]):
        found = [place for place in places if place.exists()]
        if found:
            return found
    raise PartUnavailable(
        part="documentation", reason="it is not installed", hint="Run `pip install --force-reinstall tmws`"
    )
