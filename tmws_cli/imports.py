"""The command that imports: what a file is, what came of it, and what would come."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import click

from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings
from tmws_cli.exits import FAILURE
from tmws_cli.options import invocation_of
from tmws_cli.output import WIDTH, clipped, counted, print_json, printable
from tmws_cli.progress import progress
from tmws_cli.transfer.claims import Claims
from tmws_cli.transfer.files import check_regular, found_path, is_markdown, label, opened
from tmws_cli.transfer.importing import Import, Source, Tally
from tmws_cli.transfer.made import Made
from tmws_cli.transfer.pages import MarkdownPages
from tmws_cli.transfer.preview import Preview, preview
from tmws_cli.transfer.recognising import Recognised, Stream, is_own_export
from tmws_cli.transfer.records import Refusal
from tmws_cli.transfer.several import Export, Several, in_folder, pages_in
from tmws_core.wire import unstructure

FORMATS = ("auto", "jsonl", "json", "csv", "markdown")


@click.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="auto", help="Take it for this, without looking."
)
@click.option("--encoding", metavar="NAME", help="Read files in this encoding, such as cp932; otherwise UTF-8.")
@click.option("--dry-run", is_flag=True, help="Show what would come, and store nothing.")
@click.option("--prune", is_flag=True, help="Let what vanished from Markdown since its last import expire.")
@click.option("--as-exported", is_flag=True, help="Believe a TMWS export whose its memories are, and who reads them.")
@click.option("--ignore-unknown", is_flag=True, help="Pass over fields that TMWS does not know.")
@click.option("--strict", is_flag=True, help="Stop at the first memory that is refused.")
@click.pass_context
def import_(
    context: click.Context,
    paths: tuple[str, ...],
    format_: str,
    encoding: str | None,
    *,
    dry_run: bool,
    prune: bool,
    as_exported: bool,
    ignore_unknown: bool,
    strict: bool,
) -> None:
    """Store the memories in files (`-` is stdin), or in folders of Markdown files or exports.

    What a file is, it tells by itself: JSON lines, Markdown, CSV, conversations exported from ChatGPT or Claude,
    sessions of Claude Code or Codex, or a dump of MCP server-memory, mem0, mcp-memory-service, claude-mem or
    basic-memory. Running it again goes on where it was interrupted, and stores nothing twice. What comes in is yours
    and private.
    """
    invocation = invocation_of(context)
    settings = invocation.settings()
    claims = Claims(owner=settings.agent_id, believed=as_exported)
    with _recognised(paths, format_, _known(encoding), ignore_unknown=ignore_unknown) as found:
        if dry_run:
            with progress("import", found.source.total) as report:
                coming = preview(found.source, claims, _print_refusal, report)
            facts, tally = _coming_facts(found.format, coming), coming.tally
        else:
            if prune and not pages_in(found.source):
                raise click.UsageError("--prune is about Markdown: nothing else is imported by its place.")
            tally = anyio.run(_import, settings, found.source, claims, strict, prune)
            facts = {"format": found.format, **_tally_facts(tally)}
        nothing = _nothing(paths, found.source, tally, coming.memories if dry_run else tally.done)
    facts |= {"as_exported": as_exported, "claims": dict(claims.counts)}
    if nothing:
        print(printable(f"error: {nothing}"), file=sys.stderr)
    if invocation.as_json:
        print_json({"success": not (tally.refused or nothing), **facts})
    elif dry_run:
        _print_coming(found.format, coming)
    else:
        _print_tally(tally)
    if claims.counts and not invocation.as_json:
        _print_claims(claims)
    if tally.refused or nothing:
        context.exit(FAILURE)


def _known(encoding: str | None) -> str | None:
    """Return the name of an encoding of texts; UsageError if there is none of that name."""
    try:
        "x".encode(encoding or "utf-8")
    except (LookupError, ValueError):
        raise click.UsageError(f"--encoding: no encoding is called {encoding}: try cp1252, cp932 or gb18030.") from None
    return encoding


@contextmanager
def _recognised(
    paths: Sequence[str], format_: str, encoding: str | None, *, ignore_unknown: bool
) -> Iterator[Recognised]:
    """Open what is to be imported, and tell what it is."""
    if paths == ("-",):
        yield Stream(None, sys.stdin.buffer, None, ignore_unknown, encoding).recognised(format_)
        return
    if "-" in paths:
        raise click.UsageError("Give `-` alone: what comes on stdin is one file.")
    if len(paths) > 1:
        sources = [_named(path, format_, encoding, ignore_unknown=ignore_unknown) for path in paths]
        yield Recognised(Several(sources), "several files")
        return
    (path,) = paths
    source = _named(path, format_, encoding, ignore_unknown=ignore_unknown)
    if isinstance(source, Export):
        with opened(source.path, source.within) as file:
            yield Stream(source.path, file, source.total, ignore_unknown, encoding).recognised(format_)
    else:
        yield Recognised(source, "Markdown" if any(pages.pages for pages in pages_in(source)) else "exports")


def _named(path: str, format_: str, encoding: str | None, *, ignore_unknown: bool) -> Source:
    """Return what is at a path."""
    place = found_path(Path(path))
    if format_ == "auto" and place.is_dir():
        return in_folder(place, ignore_unknown=ignore_unknown, encoding=encoding)
    if format_ == "markdown":
        return MarkdownPages.at(place, ignore_unknown=ignore_unknown, encoding=encoding)
    size = check_regular(place)
    if format_ == "auto" and is_markdown(path) and not is_own_export(place):
        return MarkdownPages.at(place, ignore_unknown=ignore_unknown, encoding=encoding)
    return Export(
        path=place,
        within=place.resolve().parent,
        place=label(path),
        total=size,
        ignore_unknown=ignore_unknown,
        format=format_,
        encoding=encoding,
    )


def _nothing(paths: Sequence[str], source: Source, tally: Tally, memories: int) -> str:
    """Return why nothing was there to import, or nothing if there was something, or the file is empty."""
    folders = any(Path(path).is_dir() for path in paths)
    if memories or tally.refused or tally.vanished or not (source.position or folders):
        return ""
    named = ", ".join(paths)
    if folders and not source.total:
        return f"{named} holds neither Markdown nor what another program has exported (.json, .jsonl, .csv)"
    return f"{named} holds nothing to remember"


async def _import(
    settings: Settings,
    source: Source,
    claims: Claims,
    strict: bool,  # noqa: FBT001 - see anyio.run
    prune: bool,  # noqa: FBT001
) -> Tally:
    pages = pages_in(source)
    async with open_app(settings) as app:
        caller = settings.operator(transport="cli")
        run = Import(
            app=app,
            caller=caller,
            claims=claims,
            strict=strict,
            made=Made.beside(settings.place, caller) if pages else None,
            on_refusal=_print_refusal,
        )
        with progress("import", source.total) as report:
            tally = await run.run(source, report)
        if pages:
            try:
                await run.end(pages, prune=prune)
            except OSError as error:  # what is stored is stored, and can be imported again
                reason = f"which section has made which memory is not noted ({error.strerror})"
                print(printable(f"warning: {reason}: the next import tells nothing of what vanished"), file=sys.stderr)
    return tally


def _print_refusal(refusal: Refusal) -> None:
    print(printable(" ".join(f"error: {refusal.place}: {refusal.reason}".split())), file=sys.stderr)


def _tally_facts(tally: Tally) -> dict[str, Any]:
    return {
        "stored": tally.stored,
        "without_vector": tally.without_vector,
        "already_there": tally.already_there,
        "merged": tally.merged,
        "superseded": tally.superseded,
        "made_private": tally.made_private,
        "vanished": tally.vanished,
        "pruned": tally.pruned,
        "missing": tally.missing,
        **_left_out(tally),
    }


def _left_out(tally: Tally) -> dict[str, Any]:
    return {
        "refused": tally.refused,
        "refusals": [{"place": refusal.place, "message": refusal.reason} for refusal in tally.refusals],
        "skipped": tally.skipped,
        "skips": [{"place": skip.place, "message": skip.reason} for skip in tally.skips],
    }


def _coming_facts(format_: str, coming: Preview) -> dict[str, Any]:
    examples: list[Mapping[str, Any]] = [unstructure(example) for example in coming.examples]
    return {
        "dry_run": True,
        "format": format_,
        "memories": coming.memories,
        "examples": [{name: value for name, value in each.items() if value or value == 0} for each in examples],
        **_left_out(coming.tally),
    }


def _print_coming(format_: str, coming: Preview) -> None:
    would_come = counted(coming.memories, "memory", "memories")
    print(f"{format_}: {would_come} would come, refused {coming.tally.refused}; nothing is stored")
    for example in coming.examples:
        day = example.occurred_at.date().isoformat() if example.occurred_at else "-" * 10
        print(clipped(f"  {day}  {example.source or ''}  {example.content}", WIDTH))
    if coming.memories > len(coming.examples):
        print("  …")
    _print_left_out(coming.tally)


def _print_tally(tally: Tally) -> None:
    print(f"Stored {tally.stored}, already there {tally.already_there}, refused {tally.refused}")
    if tally.merged:
        print(f"Added something to {tally.merged} that were there")
    if tally.superseded:
        print(f"Replaced {tally.superseded} by what stands in their places now")
    if tally.made_private:
        print(f"Private now, though others read what they replace: {tally.made_private}")
    if tally.missing:
        more = ", …" if tally.vanished > len(tally.missing) else ""
        done = "Let expire" if tally.pruned else "Remembered (--prune lets it expire)"
        print(printable(f"{done} what is not there any more, {tally.vanished}: {', '.join(tally.missing)}{more}"))
    _print_left_out(tally)
    if tally.without_vector:
        waits = counted(tally.without_vector, "of them waits", "of them wait")
        print(f"warning: {waits} for a vector: see `tmws doctor`", file=sys.stderr)
    if tally.unlinked:
        stays = f"{counted(tally.unlinked, 'memory stays', 'memories stay')} current"
        why = "what replaced the text did not come along, or the text was there before (see --as-exported)"
        print(f"warning: {stays}: {why}", file=sys.stderr)


def _print_claims(claims: Claims) -> None:
    said = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in sorted(claims.counts.items()))
    if claims.believed:
        print(f"As the file says: {said}")
    else:
        print(f"Yours and private, though the file says otherwise: {said} (--as-exported believes it)")


def _print_left_out(tally: Tally) -> None:
    if tally.refusals:
        more = ", …" if tally.refused > len(tally.refusals) else ""
        print(printable(f"Refused: {', '.join(refusal.place for refusal in tally.refusals)}{more}"))
    if tally.skips:
        more = ", …" if tally.skipped > len(tally.skips) else ""
        skips = ", ".join(f"{skip.place} ({skip.reason})" for skip in tally.skips)
        print(printable(f"Passed over: {skips}{more}"))
