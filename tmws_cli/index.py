"""The commands for the approximate vector index: what it holds, and filling it again from the database."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import anyio
import attrs
import click

from tmws_adapters.bootstrap import Parts, open_parts
from tmws_adapters.settings import Settings
from tmws_cli.options import NOBODY, invocation_of, with_common_options
from tmws_cli.progress import progress
from tmws_core.errors import ConfigurationError, IndexLoading, IndexUnavailable

Follower = TypeVar("Follower")
Found = TypeVar("Found")

LOADING_SECONDS = 60.0
"""How long a command waits for Chroma to be imported and opened; a search waits 2 s, since it has another way."""

Answer = tuple[dict[str, Any], list[str]]
"""The facts for --json, and the lines for people."""


@click.group("index", no_args_is_help=True)
def index() -> None:
    """Look after the approximate vector index, which only speeds up searches of very many memories."""


@index.command("status")
@click.pass_context
def status(context: click.Context) -> None:
    """Tell what the index holds, and what waits to come into it."""
    _run(context, _status, reads=True)


@index.command("init")
@click.pass_context
def init(context: click.Context) -> None:
    """Make the index ready for the model of the database."""
    _run(context, _init)


@index.command("rebuild")
@click.pass_context
def rebuild(context: click.Context) -> None:
    """Forget the index and fill it from the database, without asking the embedder."""
    _run(context, _rebuild)


for _command in index.commands.values():
    with_common_options(_command, NOBODY)


def _run(context: click.Context, work: Callable[[Settings], Awaitable[Answer]], *, reads: bool = False) -> None:
    invocation = invocation_of(context)
    facts, lines = anyio.run(work, invocation.settings(reads=reads))
    print(json.dumps({"success": True, **facts}, ensure_ascii=False) if invocation.as_json else "\n".join(lines))


async def _status(settings: Settings) -> Answer:
    async with _opened(settings) as parts:
        facts = _facts(attrs.asdict(await _chosen(parts.follower).standing()))
    return facts, _lines(facts)


async def _init(settings: Settings) -> Answer:
    async with _opened(settings) as parts:
        model = await parts.storage.model() or await parts.embedder.model()
        facts = _facts(attrs.asdict(await _chosen(parts.follower).begin(model)))
    parameters = facts["parameters"]
    return facts, [
        "Initializing Chroma collection...",
        f"✅ Collection created: {parameters['collection']}",
        f"✅ HNSW index configured: M={parameters['m']}, ef_construction={parameters['ef_construction']}",
        f"✅ Distance metric: {parameters['space']}",
        f"✅ Embedding dimension: {model.dimension}",
    ]


async def _rebuild(settings: Settings) -> Answer:
    async with _opened(settings) as parts:
        follower = _chosen(parts.follower)
        with progress("index rebuild", await follower.due()) as report:
            facts = _facts(attrs.asdict(await follower.rebuild(lambda done, _: report(done, done))))
    return facts, _lines(facts)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Parts]:
    """Open the adapters, and wait until the index is open or cannot be opened."""
    async with open_parts(settings) as parts:
        if parts.follower is not None:
            # What is asked of an index that cannot be opened says so better, or heals it.
            with suppress(IndexUnavailable):
                await loaded(parts.follower.standing)
        yield parts


async def loaded(standing: Callable[[], Awaitable[Found]]) -> Found:
    """Ask how an index stands until it is open; IndexUnavailable if it cannot be, or not within LOADING_SECONDS."""
    deadline = anyio.current_time() + LOADING_SECONDS
    while True:
        try:
            return await standing()
        except IndexLoading:
            if anyio.current_time() >= deadline:
                raise


def _chosen(follower: Follower | None) -> Follower:
    if follower is None:
        raise ConfigurationError(
            setting="TMWS_VECTOR_BACKEND",
            reason="there is no index, because all vectors are searched exactly",
            hint="Set it to chroma, or set TMWS_CHROMA_URL, to have one",
        )
    return follower


def _facts(standing: dict[str, Any]) -> dict[str, Any]:
    index = standing["index"]
    waiting = {"waiting": standing["waiting"], "worthwhile": standing["worthwhile"]}
    return {"model": index["model"], "documents": sum(index["partitions"].values()), **waiting, **index}


def _lines(facts: dict[str, Any]) -> list[str]:
    model = facts["model"]
    lines = [
        f"Model: {model['name']}, {model['dimension']} values" if model else "Model: none yet",
        f"Parameters: {', '.join(f'{name} {value}' for name, value in facts['parameters'].items())}",
        f"Documents: {facts['documents']}, waiting {facts['waiting']}",
        *(f"  {name}: {count}" for name, count in sorted(facts["partitions"].items())),
    ]
    if facts["worthwhile"] is not None and not facts["documents"] and not facts["waiting"]:
        lines.append(f"Below {facts['worthwhile']} memories of one audience, an exact search is faster.")
    return lines
