"""The commands for the audit log: reading it, proving that nobody has changed it, and deleting what is too old."""

import json
import sys
from datetime import datetime, timedelta
from typing import Any, Literal

import anyio
import attrs
import click

from tmws_adapters.bootstrap import Parts, open_parts
from tmws_adapters.settings import Settings
from tmws_cli.exits import FAILURE
from tmws_cli.failures import EXIT_CODES
from tmws_cli.options import NOBODY, RECORDED, invocation_of, with_common_options
from tmws_cli.output import counted, printable
from tmws_cli.progress import progress
from tmws_cli.times import EXAMPLES, shown_time, written_time
from tmws_core.domain.audit import AuditRecord
from tmws_core.domain.chain import Checkpoint
from tmws_core.domain.iso import moment_in
from tmws_core.domain.proof import Doubt
from tmws_core.errors import Kind
from tmws_core.ports.audit import AuditFilter
from tmws_core.services.auditing import Verification

MOST = 10_000
"""Rows that one query answers; 4 MB of JSON."""

UNPROVEN = EXIT_CODES[Kind.UNAVAILABLE]
"""The exit code where nothing is wrong with the log, but nothing proves it either."""

DOUBTS = {
    Doubt.NOTHING_SIGNED: (
        "no checkpoint of it was ever signed, or all of them were removed",
        "`tmws serve` signs one by itself; `tmws audit sign` does it now",
    ),
    Doubt.ANOTHER_SECRET: (
        "another secret has signed the checkpoints of rows {rows}",
        "Set TMWS_SECRET_KEY_PREVIOUS to that secret; `tmws audit sign` then signs with the present one",
    ),
    Doubt.NOTHING_OUTSIDE: (
        "what was signed last is not kept in {where}, so that an end that was cut off would not show",
        "`tmws audit sign` keeps it there; before, compare the last row with what you have kept yourself",
    ),
}
"""What is missing to a proof, and what to do about it."""


class _Moment(click.ParamType[datetime]):
    """A time as people write it, or in RFC 3339."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = moment_in(written_time("since", value).upper())
        except ValueError:
            self.fail(f"{value!r} is no time such as {EXAMPLES}.", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone: write {value}Z for UTC.", param, ctx)
        return moment


@click.group("audit", no_args_is_help=True)
def audit() -> None:
    """Look after the audit log: who did what, and when."""


@audit.command("query")
@click.option("--event", default="", metavar="TYPE", help="Only events whose type begins so, such as `memory.`.")
@click.option("--agent", metavar="ID", help="Only what this agent did.")
@click.option("--since", type=_Moment(), metavar="TIME", help="Only from this time on, such as 30d or 2026-01-31.")
@click.option("--until", type=_Moment(), metavar="TIME", help="Only before this time.")
@click.option("--limit", type=click.IntRange(1, MOST), default=20, show_default=True, help="How many at most.")
@click.option("--before", type=int, metavar="ROW", help="Only rows before this one: the last one of the former page.")
@click.pass_context
def query(
    context: click.Context,
    *,
    event: str,
    agent: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    before: int | None,
) -> None:
    """Show what was recorded, the newest first."""
    invocation = invocation_of(context)
    wanted = AuditFilter(event_type=event, agent_id=agent, since=since, until=until)
    records = anyio.run(_query, invocation.settings(reads=True), wanted, before, limit)
    if invocation.as_json:
        _print_json({"success": True, "events": [_facts(record) for record in records]})
        return
    for record in records:
        moment = shown_time(record.timestamp)
        print(printable(f"{record.id:6}  {moment}  {record.event_type}  {record.agent_id}  {record.details}"))
    if not records:
        print("Nothing like that was recorded.")


@audit.command("verify")
@click.pass_context
def verify(context: click.Context) -> None:
    """Prove that no row was changed, removed, moved or inserted.

    The exit code is 1 if one was, and 5 if nothing is wrong but a proof is missing.
    """
    invocation = invocation_of(context)
    found, where = anyio.run(_verify, invocation.settings(reads=True))
    if invocation.as_json:
        _print_json({"success": found.breach is None and found.doubt is None, **_verified(found)})
    else:
        _print_verification(found, where)
    if found.breach is not None:
        context.exit(FAILURE)
    if found.doubt is not None:
        context.exit(UNPROVEN)


@audit.command("sign")
@click.option(
    "--accept",
    is_flag=True,
    help="Sign although a secret that is not known any more has signed before, or although the log ends before what "
    "was signed, as after restoring a backup: you have compared it yourself. The log records that.",
)
@click.pass_context
def sign(context: click.Context, *, accept: bool) -> None:
    """Sign the log as it is now, after verifying what was added since it was signed before."""
    invocation = invocation_of(context)
    signed, where = anyio.run(_sign, invocation.settings(), accept)
    if invocation.as_json:
        _print_json({"success": True, "signed_up_to": signed.end.id, "hash": signed.end.hash.hex(), "kept_in": where})
    else:
        print(f"Signed up to row {signed.end.id}, hash {signed.end.hash.hex()}; kept in {where}.")


@audit.command("prune")
@click.option(
    "--days",
    type=click.IntRange(0, 100_000),
    help="Delete what is older than this, instead of TMWS_AUDIT_LOG_RETENTION_DAYS; 0 deletes nothing.",
)
@click.pass_context
def prune(context: click.Context, days: int | None) -> None:
    """Delete what is too old, and leave a signed checkpoint from which the rest verifies."""
    invocation = invocation_of(context)
    settings = invocation.settings()
    days = settings.audit_log_retention_days if days is None else days
    deleted = anyio.run(_prune, settings, days) if days else 0
    if invocation.as_json:
        _print_json({"success": True, "deleted": deleted, "days": days})
    elif days:
        print(f"Deleted {counted(deleted, 'row that was', 'rows that were')} older than {counted(days, 'day')}.")
    else:
        print("Deleted nothing: the log is kept for ever.")


for _command in audit.commands.values():
    with_common_options(_command, NOBODY if _command.name in ("query", "verify") else RECORDED)


async def _query(settings: Settings, wanted: AuditFilter, before: int | None, limit: int) -> list[AuditRecord]:
    async with open_parts(_without_index(settings)) as parts:
        return await parts.auditing.query(wanted, before=before, limit=limit)


async def _verify(settings: Settings) -> tuple[Verification, str]:
    async with open_parts(_without_index(settings)) as parts:
        end = (await parts.auditing.standing()).end
        with progress("audit verify", end.id if end else None, "rows") as report:
            found = await parts.auditing.verify(lambda done, _: report(done, done))
            return found, parts.auditing.position.where


async def _sign(settings: Settings, accept: bool) -> tuple[Checkpoint, str]:  # noqa: FBT001 - anyio.run takes no names
    async with open_parts(_without_index(settings)) as parts:
        return await parts.auditing.checkpoint(accept=accept), parts.auditing.position.where


async def _prune(settings: Settings, days: int) -> int:
    async with open_parts(_without_index(settings)) as parts:
        before = parts.clock.now() - timedelta(days=days)
        with progress("audit prune", None, "rows") as report:
            return await parts.auditing.prune(
                settings.operator(transport="cli"), before, lambda done, _: report(done, done)
            )


async def examine_log(parts: Parts, *, deep: bool) -> tuple[Literal["ok", "warning", "broken"], str, str]:
    """Return for the doctor how the log is, in what way, and what to do about it; with `deep` all of it is verified."""
    standing = await parts.auditing.standing()
    last = standing.checkpoint
    signed = f"signed up to row {last.end.id} on {last.created_at[:10]}" if last else "nothing of it is signed yet"
    written = counted(standing.end.id, "row was", "rows were") if standing.end else "unknown rows were"
    detail = f"{written} written, {signed}"
    if standing.cut and standing.kept is not None:
        reason = f"{detail}; but row {standing.kept.end.id} was signed on {standing.kept.created_at[:10]}"
        remedy = "An older copy of the database, or none: find out why; `tmws audit sign --accept` then goes on with it"
        return "broken", reason, remedy
    if not deep:
        return "ok", f"{detail}; whether that holds, `tmws audit verify` tells" if last else detail, ""
    found = await parts.auditing.verify()
    if found.breach is not None:
        remedy = "Keep a copy of the database, and find out who can write it"
        return "broken", f"row {found.breach.id} {found.breach.reason}", remedy
    if found.doubt is not None:
        reason, remedy = _doubt(found, parts.auditing.position.where)
        return "warning", f"{detail}; {reason}", remedy
    return "ok", f"{detail}, all {found.rows} that are kept verified", ""


def _without_index(settings: Settings) -> Settings:
    """Return the settings without the approximate index, which another process may need meanwhile."""
    return attrs.evolve(settings, vector_backend="exact")


def _facts(record: AuditRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "timestamp": record.timestamp,
        "event_type": record.event_type,
        "agent_id": record.agent_id,
        "details": _details(record.details),
        "hash": record.hash.hex() if record.hash else None,
    }


def _details(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text  # somebody changed the row


def _verified(found: Verification) -> dict[str, Any]:
    return {
        "rows": found.rows,
        "last_row": found.end.id,
        "hash": found.end.hash.hex(),
        "breach": None if found.breach is None else attrs.asdict(found.breach),
        "doubt": None if found.doubt is None else found.doubt.value,
        "signed_up_to": found.signed,
        "unverifiable": list(found.unverifiable),
    }


def _print_verification(found: Verification, where: str) -> None:
    if found.breach is not None:
        print(f"Row {found.breach.id} {found.breach.reason}.")
        print(f"The chain before it holds: {counted(found.rows, 'row')}, up to row {found.end.id}.")
    elif found.doubt is not None:
        reason, remedy = _doubt(found, where)
        print(f"Nothing proves that the audit log is what was written: {reason}. {remedy}.", file=sys.stderr)
        print(f"The chain holds: {counted(found.rows, 'row')}, the last one {found.end.id}.")
    else:
        print(f"The audit log is what was written: {counted(found.rows, 'row')}, the last one {found.end.id}.")
    print(f"Hash: {found.end.hash.hex()}")
    print(f"Signed up to row: {found.signed or 'none'}")


def _doubt(found: Verification, where: str) -> tuple[str, str]:
    """Return what is missing to a proof, and what to do about it."""
    reason, remedy = DOUBTS[found.doubt or Doubt.NOTHING_SIGNED]
    return reason.format(rows=", ".join(map(str, found.unverifiable)), where=where), remedy


def _print_json(facts: dict[str, Any]) -> None:
    print(json.dumps(facts, ensure_ascii=False))
