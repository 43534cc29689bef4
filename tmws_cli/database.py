"""The commands for the database as a whole: its schema, its space and its soundness."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from tmws_adapters.local.lock import take
from tmws_adapters.local.place import Place
from tmws_adapters.local.record import read
from tmws_adapters.settings import Settings
from tmws_adapters.upkeep import Change, Flaw, Standing, Upkeep, upkeep_of
from tmws_cli.exits import FAILURE
from tmws_cli.options import NOBODY, invocation_of, with_common_options
from tmws_cli.output import counted, printable
from tmws_core.errors import StorageBusy, StorageUnavailable

UPGRADE = "Run `tmws db upgrade`"

REMEDIES = {
    "none": UPGRADE,
    "older": UPGRADE,
    "current": "",
    "newer": "Nothing has to be done: that version says that this one may use its schema",
    "unusable": "Install the version of TMWS that made it, or let that one run `tmws db downgrade`",
}
"""What to do about a schema, by its state."""

MEBIBYTE = 1024 * 1024


@click.group("db", no_args_is_help=True)
def database() -> None:
    """Look after the database: its schema, its space and its soundness."""


@database.command("upgrade")
@click.pass_context
def upgrade(context: click.Context) -> None:
    """Create the schema, or bring it up to date; a SQLite file is copied first.

    Every command and server does so by itself when it starts.
    """
    settings = invocation_of(context).settings()
    with _alone(settings, only_if=upkeep_of(settings).standing().state == "older"):
        done = upkeep_of(settings).upgrade(_teller(context))
    _answer(context, *_changed(done))


@database.command("downgrade")
@click.pass_context
def downgrade(context: click.Context) -> None:
    """Take the last change of the schema back, before an older version of TMWS is installed.

    A SQLite file is copied first. What only the newer schema can hold is lost.
    """
    settings = invocation_of(context).settings()
    with _alone(settings):
        done = upkeep_of(settings).downgrade(_teller(context))
    facts, lines = _changed(done)
    _answer(
        context, facts, [*lines, "Install the older version now: this one changes the schema again when it starts."]
    )


@database.command("current")
@click.pass_context
def current(context: click.Context) -> None:
    """Tell which revision the schema is of, and which one this version needs."""
    settings = invocation_of(context).settings()
    standing = upkeep_of(settings).standing()
    facts = {"database": settings.store_name, **_facts(standing)}
    remedy = REMEDIES[standing.state]
    _answer(
        context,
        facts,
        [
            f"Database: {settings.store_name}",
            f"Server: {standing.dialect} {standing.server}",
            f"Revision: {standing.revision or 'none'}",
            f"Head: {standing.head} ({standing.state})",
            *([f"{remedy}."] if remedy else []),
        ],
    )


@database.command("check")
@click.pass_context
def check(context: click.Context) -> None:
    """Compare the schema with what this version needs, and with what its revision makes; nothing is changed."""
    upkeep = upkeep_of(invocation_of(context).settings())
    standing = upkeep.standing()
    differences = [] if standing.state == "newer" else upkeep.differences()
    sound = not differences and standing.state in ("current", "newer")
    remedy = REMEDIES[standing.state]
    lines = [f"{'✅' if sound else '❌'} Revision {standing.revision or 'none'}, this version needs {standing.head}"]
    for each in differences:
        lines.append(f"❌ {each.problem}")
        lines += [f"   it should be: {each.expected}"] if each.expected else []
        lines += [f"   it is: {each.found}"] if each.found else []
    if differences:
        remedy = "Undo what was changed by hand, or restore the last backup"
    problems = [
        {"part": each.part, "problem": each.problem, "expected": each.expected, "found": each.found}
        for each in differences
    ]
    facts = {**_facts(standing), "problems": problems, "remedy": remedy}
    _answer(context, facts, [*lines, *([f"→ {remedy}."] if remedy else [])], success=sound)


@database.command("integrity")
@click.pass_context
def integrity(context: click.Context) -> None:
    """Read the whole database, and tell what is damaged in it or does not agree."""
    upkeep = upkeep_of(invocation_of(context).settings())
    _require_current(upkeep)
    flaws = upkeep.integrity(_teller(context))
    lines = [f"❌ {each.problem}" for each in flaws] or ["✅ The database is sound"]
    remedy = remedy_of(flaws)
    _answer(
        context,
        {"problems": [each.problem for each in flaws], "remedy": remedy},
        [*lines, *([f"→ {remedy}."] if remedy else [])],
        success=not flaws,
    )


@database.command("reindex")
@click.pass_context
def reindex(context: click.Context) -> None:
    """Compare the words of the lexical index with the texts, and write those anew that differ.

    Others may read and write meanwhile. If it is interrupted, what it has written stays, and it may be run again.
    """
    upkeep = upkeep_of(invocation_of(context).settings())
    _require_current(upkeep)
    done = upkeep.reindex(_teller(context))
    texts = counted(done.written, "memory", "memories")
    _answer(
        context,
        {"written": done.written, "removed": done.removed},
        [f"✅ Reindexed: {texts} written anew, {counted(done.removed, 'leftover')} removed"],
    )


@database.command("vacuum")
@click.pass_context
def vacuum(context: click.Context) -> None:
    """Give back the space of what was deleted; others may read meanwhile, and write where it is PostgreSQL."""
    upkeep = upkeep_of(invocation_of(context).settings())
    _require_current(upkeep)
    before = upkeep.size()
    upkeep.vacuum(_teller(context))
    after = upkeep.size()
    sizes = f"{before / MEBIBYTE:.1f} MiB before, {after / MEBIBYTE:.1f} MiB after"
    _answer(context, {"bytes_before": before, "bytes_after": after}, [f"✅ Vacuumed: {sizes}"])


@database.command("analyze")
@click.pass_context
def analyze(context: click.Context) -> None:
    """Count what the database plans its queries by."""
    upkeep = upkeep_of(invocation_of(context).settings())
    _require_current(upkeep)
    upkeep.analyze(_teller(context))
    _answer(context, {}, ["✅ Analyzed"])


for _command in database.commands.values():
    with_common_options(_command, NOBODY)


@contextmanager
def _alone(settings: Settings, *, only_if: bool = True) -> Iterator[None]:
    """Keep the owner of a SQLite file away for the block; StorageBusy if there is one."""
    if settings.uses_postgres or not only_if:
        yield
        return
    place = Place(str(settings.place))
    place.prepare()
    lock = take(place.lock)
    if lock is None:
        record = read(place.record)
        process = f"process {record.pid}, TMWS {record.version}," if record else "another process"
        raise StorageBusy(
            part="sqlite",
            reason=f"{process} serves the database",
            hint="Close the agent terminals, or stop `tmws serve`, and try again when it has ended",
        )
    try:
        yield
    finally:
        os.close(lock)


def _require_current(upkeep: Upkeep) -> None:
    """Refuse what would change the schema, or create a database, on the way."""
    standing = upkeep.standing()
    if standing.state not in ("current", "newer"):
        raise StorageUnavailable(
            part=standing.dialect,
            reason=f"the schema is of revision {standing.revision or 'none'}, this version needs {standing.head}",
            hint=REMEDIES[standing.state],
        )


def _teller(context: click.Context) -> Any:
    name = context.command_path.removeprefix("tmws ")

    def tell(line: str) -> None:
        print(printable(f"{name}: {line}"), file=sys.stderr, flush=True)

    return tell


def remedy_of(flaws: Sequence[Flaw]) -> str:
    """Return what to do about a database that is not sound, or nothing."""
    if not flaws:
        return ""
    if all(each.derived for each in flaws):
        return "Run `tmws db reindex`, which takes the words from the texts again"
    return "Stop TMWS, keep a copy of the database, and restore the last backup"


def _facts(standing: Standing) -> dict[str, Any]:
    return {
        "dialect": standing.dialect,
        "server": standing.server,
        "revision": standing.revision,
        "head": standing.head,
        "state": standing.state,
        "usable_from": standing.usable_from,
    }


def _changed(done: Change) -> tuple[dict[str, Any], list[str]]:
    facts = {"before": done.before, "after": done.after, "backup": str(done.backup) if done.backup else None}
    if done.before == done.after:
        return facts, [f"Nothing to do: the schema is of revision {done.after}."]
    lines = [f"✅ Schema changed from revision {done.before or 'none'} to {done.after}"]
    return facts, [*lines, *([f"The copy before: {done.backup}"] if done.backup else [])]


def _answer(context: click.Context, facts: dict[str, Any], lines: list[str], *, success: bool = True) -> None:
    if invocation_of(context).as_json:
        print(json.dumps({"success": success, **facts}, ensure_ascii=False))
    else:
        for line in lines:
            print(printable(line))
    if not success:
        context.exit(FAILURE)
