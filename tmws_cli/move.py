"""The command that moves a store to another place."""

import json
from typing import Any

import anyio
import attrs
import click

from tmws_adapters.moving import SETTING, Moved, open_move
from tmws_adapters.settings import Settings
from tmws_cli.options import NOBODY, invocation_of, with_common_options
from tmws_cli.progress import progress
from tmws_cli.secret import warn_of_password

_AUDIT = {
    None: [],
    True: ["✅ The audit log is what was signed of it; its signed position is kept for the new place."],
    False: [
        "⚠️ The audit log was not proven by the signed position of the source: see `tmws audit verify` on both sides."
    ],
}

_AGAIN = "The source has changed since. Stop what uses it, and run the same command again: it copies what is missing."


@click.command("move")
@click.option("--from", "source", metavar="URL", help="The store to copy, instead of the one of the settings.")
@click.option("--to", "target", metavar="URL", required=True, help="Where to: an empty database, or a file to be made.")
@click.pass_context
def move(context: click.Context, source: str | None, target: str) -> None:
    """Copy all that a store holds to another place, and prove that it has arrived.

    URLs are those of TMWS_DATABASE_URL. The source may be in use, the target may not. Interrupted, it goes on when it
    is run again; run again after it has ended, it copies what has changed since.
    """
    warn_of_password("--from", source)
    warn_of_password("--to", target)
    invocation = invocation_of(context)
    settings = invocation.settings()
    leaving = settings if source is None else attrs.evolve(settings, database_url=source)
    arriving = attrs.evolve(settings, database_url=target, database_url_read="")
    moved = anyio.run(_move, leaving, arriving, SETTING if source is None else "--from")
    if invocation.as_json:
        print(json.dumps({"success": True, "from": leaving.store_name, "to": arriving.store_name, **_facts(moved)}))
    else:
        print("\n".join(_lines(leaving.store_name, arriving.store_name, moved)))


with_common_options(move, NOBODY)


async def _move(source: Settings, target: Settings, named: str) -> Moved:
    async with open_move(source, target, named) as moving:
        with progress("move", await moving.total(), "rows") as report:
            return await moving.run(report)


def _facts(moved: Moved) -> dict[str, Any]:
    tables = {
        name: {"rows": rows, "written": moved.written[name], "checksum": moved.digests[name]}
        for name, rows in moved.rows.items()
    }
    return {"settled": moved.settled, "passes": moved.passes, "audit_proven": moved.proven, "tables": tables}


def _lines(source: str, target: str, moved: Moved) -> list[str]:
    held = [f"  {name}: {rows}, {moved.written[name]} written now" for name, rows in moved.rows.items() if rows]
    end = "Nothing was written to the source meanwhile." if moved.settled else _AGAIN
    return [
        f"Moved {source} to {target}:",
        *held,
        f"✅ Counts and checksums of {len(moved.rows)} tables are equal on both sides.",
        *_AUDIT[moved.proven],
        end,
    ]
