"""The commands that only the owner of a machine needs: serve, demo, import, export, doctor."""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import attrs
import click

from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings
from tmws_cli.audit import audit
from tmws_cli.database import database
from tmws_cli.demo import Demonstration, demonstrate
from tmws_cli.doctor import examine, lines
from tmws_cli.embeddings import embeddings
from tmws_cli.failures import FAILURE
from tmws_cli.index import index
from tmws_cli.license import license_
from tmws_cli.move import move
from tmws_cli.options import invocation_of, with_common_options
from tmws_cli.output import printable
from tmws_cli.progress import progress
from tmws_cli.serving import serve_http
from tmws_cli.token import token
from tmws_cli.transfer.exporting import Export, check_target
from tmws_cli.transfer.files import check_regular, found_path, is_markdown, opened
from tmws_cli.transfer.importing import Import, Source, Tally
from tmws_cli.transfer.lines import JsonLines
from tmws_cli.transfer.pages import MarkdownPages
from tmws_cli.transfer.records import Refusal


@click.command("serve")
@click.option("--host", help="The address to listen on, instead of TMWS_HOST.")
@click.option("--port", help="The port to listen on, instead of TMWS_PORT; 0 takes a free one.")
@click.pass_context
def serve(context: click.Context, host: str | None, port: str | None) -> None:
    """Serve MCP and REST over HTTP until interrupted."""
    invocation = invocation_of(context)
    given = {"TMWS_HOST": host, "TMWS_PORT": port}
    invocation.flags.update({name: value for name, value in given.items() if value is not None})
    anyio.run(serve_http, invocation.server_settings())


@click.command("demo")
@click.pass_context
def demo(context: click.Context) -> None:
    """Remember the documentation, and answer three questions from it.

    It uses a store of its own, which is gone afterwards.
    """
    invocation = invocation_of(context)
    if not invocation.as_json:
        print("TMWS reads its own documentation …", flush=True)
    done = anyio.run(demonstrate, invocation.settings())
    if invocation.as_json:
        answers = [answer.wire() for answer in done.answers]
        facts = {"pages": done.pages, "memories": done.memories, "seconds": done.seconds}
        _print_json({"success": True, **facts, "answers": answers})
    else:
        _print_demonstration(done)


@click.command("import")
@click.argument("path", metavar="PATH")
@click.option("--format", "format_", type=click.Choice(["auto", "jsonl", "markdown"]), default="auto")
@click.option("--ignore-unknown", is_flag=True, help="Pass over fields that TMWS does not know.")
@click.option("--strict", is_flag=True, help="Stop at the first memory that is refused.")
@click.pass_context
def import_(context: click.Context, path: str, format_: str, *, ignore_unknown: bool, strict: bool) -> None:
    """Store the memories in a file of JSON lines (`-` is stdin), a Markdown file or a folder of them.

    Running it again goes on where it was interrupted, and stores nothing twice.
    """
    invocation = invocation_of(context)
    path = path if path == "-" else str(found_path(Path(path)))
    as_pages = format_ == "markdown" or (format_ == "auto" and _is_markdown(path))
    with ExitStack() as stack:
        source: Source
        if as_pages:
            source = MarkdownPages.at(Path(path), ignore_unknown=ignore_unknown)
        elif path == "-":
            source = JsonLines(sys.stdin.buffer, None, ignore_unknown)
        else:
            size = check_regular(Path(path))
            file = stack.enter_context(opened(Path(path), Path(path).resolve().parent))
            source = JsonLines(file, size, ignore_unknown)
        tally = anyio.run(_import, invocation.settings(), source, strict)
    if invocation.as_json:
        _print_json(_tally_facts(tally))
    else:
        _print_tally(tally)
    if tally.refused:
        context.exit(FAILURE)


@click.command("export")
@click.argument("path", metavar="PATH")
@click.option("--format", "format_", type=click.Choice(["jsonl", "markdown"]), default="jsonl")
@click.pass_context
def export(context: click.Context, path: str, format_: str) -> None:
    """Write all memories to a file of JSON lines (`-` is stdout), or to a folder of Markdown files.

    A file appears when it is complete; one of that name is replaced then.
    """
    invocation = invocation_of(context)
    if path == "-" and format_ == "markdown":
        raise click.UsageError("Markdown needs a folder.")
    if format_ == "jsonl" and Path(path).is_dir():
        raise click.UsageError(f"{path} is a folder: name a file, or give --format markdown.")
    if format_ == "jsonl" and path != "-":
        check_target(Path(path))
    count = anyio.run(_export, invocation.settings(), path, format_)
    if path == "-":
        return
    if invocation.as_json:
        _print_json({"success": True, "path": path, "memories": count})
    else:
        print(f"Exported {count} memories to {path}")


@click.command("doctor")
@click.option("--deep", is_flag=True, help="Read the whole database, too.")
@click.pass_context
def doctor(context: click.Context, *, deep: bool) -> None:
    """Tell what works and what does not, and what to do about it."""
    invocation = invocation_of(context)
    checks = anyio.run(_examine, invocation.settings, deep)
    sound = all(check.state != "broken" for check in checks)
    if invocation.as_json:
        _print_json({"success": sound, "checks": [attrs.asdict(check) for check in checks]})
    else:
        for line in lines(checks):
            print(line)
    if not sound:
        context.exit(FAILURE)


COMMANDS = {
    command.name: with_common_options(command)
    for command in (serve, demo, import_, export, doctor, database, index, embeddings, audit, license_, token, move)
    if command.name is not None
}


async def _examine(load: Callable[[], Settings], deep: bool) -> Any:  # noqa: FBT001 - anyio.run passes by position
    return await examine(load, deep=deep)


async def _import(settings: Settings, source: Source, strict: bool) -> Tally:  # noqa: FBT001 - see _examine
    async with open_app(settings) as app:
        run = Import(app=app, caller=settings.operator("cli"), strict=strict, on_refusal=_print_refusal)
        with progress("import", source.total) as report:
            return await run.run(source, report)


async def _export(settings: Settings, path: str, format_: str) -> int:
    async with open_app(settings, any_model=True) as app:
        caller = settings.operator("cli")
        total = await Export(app=app, caller=caller, report=lambda _position, _memories: None).total()
        with progress("export", total) as report:
            run = Export(app=app, caller=caller, report=report, on_gone=_print_gone)
            if path == "-":
                return await run.to_stream(sys.stdout.buffer)
            return await (run.to_folder if format_ == "markdown" else run.to_file)(Path(path))


def _is_markdown(path: str) -> bool:
    return Path(path).is_dir() or is_markdown(path)


def _print_refusal(refusal: Refusal) -> None:
    print(printable(" ".join(f"error: {refusal.place}: {refusal.reason}".split())), file=sys.stderr)


def _print_gone(memory_id: str) -> None:
    print(f"warning: memory {memory_id} was deleted while it was exported", file=sys.stderr)


def _tally_facts(tally: Tally) -> dict[str, Any]:
    return {
        "success": not tally.refused,
        "stored": tally.stored,
        "without_vector": tally.without_vector,
        "already_there": tally.already_there,
        "merged": tally.merged,
        "superseded": tally.superseded,
        "refused": tally.refused,
        "refusals": [{"place": refusal.place, "message": refusal.reason} for refusal in tally.refusals],
        "skipped": tally.skipped,
        "skips": [{"place": skip.place, "message": skip.reason} for skip in tally.skips],
    }


def _print_tally(tally: Tally) -> None:
    print(f"Stored {tally.stored}, already there {tally.already_there}, refused {tally.refused}")
    if tally.merged:
        print(f"Added something to {tally.merged} that were there")
    if tally.superseded:
        print(f"Replaced {tally.superseded} by what stands in their places now")
    if tally.refusals:
        more = ", …" if tally.refused > len(tally.refusals) else ""
        print(f"Refused: {', '.join(refusal.place for refusal in tally.refusals)}{more}")
    if tally.skips:
        more = ", …" if tally.skipped > len(tally.skips) else ""
        print(f"Passed over: {', '.join(f'{skip.place} ({skip.reason})' for skip in tally.skips)}{more}")
    if tally.without_vector:
        print(f"warning: {tally.without_vector} of them wait for a vector: see `tmws doctor`", file=sys.stderr)
    if tally.unlinked:
        print(
            f"warning: {tally.unlinked} memories stay current: what replaced them is not behind them", file=sys.stderr
        )


def _print_demonstration(done: Demonstration) -> None:
    print(f"{done.memories} memories from {done.pages} pages, stored and searchable after {done.seconds:g} s.\n")
    for answer in done.answers:
        print(f"? {answer.question}")
        print(f"  {answer.hit.session_id}  (score {answer.hit.score:.3f}, {answer.milliseconds:.0f} ms)")
        print(f"  {answer.section}")
        print(f"  {answer.excerpt}\n")
    print("Your own memories were not touched. Connect a client:")
    print(f"  claude mcp add tmws -- {_program()}")


def _program() -> str:
    """Return the program that is running, by its full path where it stands beside its interpreter."""
    beside = Path(sys.executable).with_name("tmws")
    return str(beside) if beside.exists() else "tmws"


def _print_json(facts: dict[str, Any]) -> None:
    print(json.dumps(facts, ensure_ascii=False))
