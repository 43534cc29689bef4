"""The commands for the embedding model of the store: what it is, and changing it while everybody works on."""

import json
from contextlib import suppress
from typing import Any

import anyio
import attrs
import click

from tmws_adapters.bootstrap import Parts, open_parts
from tmws_adapters.settings import Settings
from tmws_cli.options import NOBODY, RECORDED, invocation_of, with_common_options
from tmws_cli.output import counted
from tmws_cli.progress import progress
from tmws_core.domain.audit import Detail
from tmws_core.domain.embedding import KnownModel
from tmws_core.errors import PartUnavailable
from tmws_core.ports.models import ModelStanding
from tmws_core.services.indexing import Indexing
from tmws_core.services.migrating import Migrated, Migrating

Answer = tuple[dict[str, Any], list[str]]
"""The facts for --json, and the lines for people."""


@click.group("embeddings", no_args_is_help=True)
def embeddings() -> None:
    """Look after the embedding model that the vectors of the database are made by."""


@embeddings.command("status")
@click.pass_context
def status(context: click.Context) -> None:
    """Tell the models, and how many memories have a vector of each."""
    _answer(context, anyio.run(_status, invocation_of(context).settings(reads=True)))


@embeddings.command("migrate")
@click.option("--throttle", type=click.FloatRange(min=0, min_open=True), metavar="RATE", help="Texts a second at most.")
@click.option("--rollback", is_flag=True, help="Go back to the former model at once.")
@click.option("--forget", is_flag=True, help="Delete the vectors of the former model.")
@click.pass_context
def migrate(context: click.Context, throttle: float | None, *, rollback: bool, forget: bool) -> None:
    """Change to the embedding model of the settings: embed all memories with it, then switch.

    Everybody goes on reading, searching and writing meanwhile. Running it again goes on where it was interrupted.
    """
    if rollback + forget + (throttle is not None) > 1:
        raise click.UsageError("Give only one of --throttle, --rollback and --forget.")
    settings = invocation_of(context).settings()
    if rollback:
        answer = anyio.run(_roll_back, settings)
    elif forget:
        answer = anyio.run(_forget, settings)
    else:
        answer = anyio.run(_migrate, settings, throttle)
    _answer(context, answer)


for _command in embeddings.commands.values():
    with_common_options(_command, NOBODY if _command.name == "status" else RECORDED)


def _answer(context: click.Context, answer: Answer) -> None:
    facts, lines = answer
    as_json = invocation_of(context).as_json
    print(json.dumps({"success": True, **facts}, ensure_ascii=False) if as_json else "\n".join(lines))


async def _status(settings: Settings) -> Answer:
    async with open_parts(_without_index(settings)) as parts:
        standing = await parts.models.standing()
        embedder = await parts.embedder.health()
    facts = {**_facts(standing), "embedder": {"model": embedder.model, "up": embedder.up, "reason": embedder.reason}}
    return facts, [*_lines(standing), f"Embedder: {embedder.model}{'' if embedder.up else f' ({embedder.reason})'}"]


async def _migrate(settings: Settings, rate: float | None) -> Answer:
    async with open_parts(_without_index(settings)) as parts:
        migrating = _migrating(parts)
        standing = await parts.models.standing()
        with progress("embeddings migrate", standing.memories) as report:
            done = await migrating.migrate(lambda prepared, _: report(prepared, prepared), rate)
        if done.switched:
            former = done.former.name if done.former else ""
            await _record(parts, settings, "embeddings.migrated", model=done.model.name, former=former)
            await _embed_the_rest(parts)
        standing = await parts.models.standing()
    counts = {"switched": done.switched, "embedded_now": done.embedded, "refused": done.refused}
    return {**counts, **_facts(standing)}, [*_outcome(done), *_lines(standing)]


async def _roll_back(settings: Settings) -> Answer:
    async with open_parts(_without_index(settings)) as parts:
        standing = await _migrating(parts).roll_back()
        model = standing.active.model.name if standing.active else ""
        await _record(parts, settings, "embeddings.rolled_back", model=model)
    return _facts(standing), [
        f"The store is back at {model}. Restart TMWS with the embedder set to it.",
        *_lines(standing),
    ]


async def _forget(settings: Settings) -> Answer:
    async with open_parts(_without_index(settings)) as parts:
        count = await _migrating(parts).forget()
        await _record(parts, settings, "embeddings.forgotten", vectors=count)
    return {"forgotten": count}, [f"Deleted {counted(count, 'vector')} of the former model."]


async def _record(parts: Parts, settings: Settings, event_type: str, **details: Detail) -> None:
    parts.trail.saw(settings.operator(transport="cli"), event_type, **details)
    await parts.trail.flush()


def _migrating(parts: Parts) -> Migrating:
    return Migrating(models=parts.models, embedder=parts.embedder.inner)


async def _embed_the_rest(parts: Parts) -> None:
    indexing = Indexing(storage=parts.storage, embedder=parts.embedder, bus=parts.bus)
    with suppress(PartUnavailable):
        while await indexing.embed_some():
            pass


def _without_index(settings: Settings) -> Settings:
    """Return the settings without the approximate index, which another process may need meanwhile."""
    return attrs.evolve(settings, vector_backend="exact")


def _outcome(done: Migrated) -> list[str]:
    if not done.switched or done.former is None:
        return [f"Nothing to change: {done.model.name} is the model of the settings already."]
    lines = [f"Changed from {done.former.name} to {done.model.name}; {counted(done.embedded, 'text')} embedded now."]
    if done.refused:
        found = "it is found by its" if done.refused == 1 else "they are found by their"
        lines.append(f"The model refused {counted(done.refused, 'text')}: {found} words only.")
    return [*lines, "Restart every running TMWS with these settings: until then it searches by words only."]


def _facts(standing: ModelStanding) -> dict[str, Any]:
    return {
        "model": _model(standing.active),
        "memories": standing.memories,
        "embedded": standing.embedded,
        "waiting": standing.memories - standing.embedded,
        "migration": standing.next
        and {
            "model": _model(standing.next),
            "prepared": standing.prepared,
            "missing": standing.memories - standing.prepared,
        },
        "former": standing.former and {"model": _model(standing.former), "vectors": standing.kept},
    }


def _model(known: KnownModel | None) -> dict[str, Any] | None:
    return None if known is None else attrs.asdict(known.model)


def _lines(standing: ModelStanding) -> list[str]:
    lines = [f"Model: {_described(standing.active) if standing.active else 'none yet'}"]
    waiting = counted(standing.memories - standing.embedded, "of them waits", "of them wait")
    lines.append(f"Memories: {standing.memories}, {waiting} for a vector")
    if standing.next is not None:
        lines.append(
            f"Changing to: {_described(standing.next)}, {standing.prepared} done, "
            f"{standing.memories - standing.prepared} missing"
        )
    if standing.former is not None:
        lines.append(
            f"Former model: {_described(standing.former)}, {counted(standing.kept, 'vector')} kept for --rollback"
        )
    return lines


def _described(known: KnownModel) -> str:
    model = known.model
    digest = f", digest {model.digest[:12]}" if model.digest else ""
    return f"{model.name}, {model.dimension} values{digest}"
