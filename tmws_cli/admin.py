"""The commands that only the owner of a machine needs: serve, demo, export, doctor."""

import sys
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

import anyio
import attrs
import click

from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings
from tmws_cli.calling import tell_of_no_store
from tmws_cli.demo import Demonstration, demonstrate
from tmws_cli.doctor import examine, lines
from tmws_cli.exits import FAILURE
from tmws_cli.options import invocation_of, only
from tmws_cli.output import counted, print_json
from tmws_cli.progress import progress
from tmws_cli.serving import serve_http
from tmws_cli.transfer.exporting import Export, check_target
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.domain.narrowing import none_for
from tmws_core.messages.memory import Filters, GetMemoryStats


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
        print_json({"success": True, **facts, "answers": answers})
    else:
        _print_demonstration(done)


@click.command("export")
@click.argument("path", metavar="PATH")
@click.option("--format", "format_", type=click.Choice(["jsonl", "markdown"]), default="jsonl")
@click.option("--agent-id", multiple=True, callback=only, metavar="AGENT", help="Only what this agent owns.")
@click.option("--namespace", multiple=True, callback=only, metavar="NAMESPACE", help="Only this namespace.")
@click.pass_context
def export(context: click.Context, path: str, format_: str, *, agent_id: str | None, namespace: str | None) -> None:
    """Write all memories to a file of JSON lines (`-` is stdout), or to a folder of Markdown files.

    A file appears when it is complete; one of that name is replaced then. Where no memory passes the filters, nothing
    is written, and the exit code is 1.
    """
    invocation = invocation_of(context)
    if path == "-" and format_ == "markdown":
        raise click.UsageError("Markdown needs a folder.")
    if format_ == "jsonl" and Path(path).is_dir():
        raise click.UsageError(f"{path} is a folder: name a file, or give --format markdown.")
    if format_ == "jsonl" and path != "-":
        check_target(Path(path))
    settings = invocation.settings(reads=True)
    tell_of_no_store(settings)
    count = anyio.run(_export, settings, path, format_, Filters(agent_id=agent_id, namespace=namespace))
    if path == "-":
        return
    if invocation.as_json:
        print_json({"success": True, "path": path, "memories": count})
    else:
        print(f"Exported {counted(count, 'memory', 'memories')} to {path}")


@click.command("doctor")
@click.option("--deep", is_flag=True, help="Read the whole database, too.")
@click.pass_context
def doctor(context: click.Context, *, deep: bool) -> None:
    """Tell what works and what does not, and what to do about it."""
    invocation = invocation_of(context)
    checks = anyio.run(_examine, invocation.settings, deep)
    sound = all(check.state != "broken" for check in checks)
    if invocation.as_json:
        print_json({"success": sound, "checks": [attrs.asdict(check) for check in checks]})
    else:
        for line in lines(checks):
            print(line)
    if not sound:
        context.exit(FAILURE)


async def _examine(load: Callable[[], Settings], deep: bool) -> Any:  # noqa: FBT001 - anyio.run passes by position
    return await examine(load, deep=deep)


async def _export(settings: Settings, path: str, format_: str, filters: Filters) -> int:
    async with open_app(settings, any_model=True) as app:
        caller = settings.operator(transport="cli")
        # What passes a filter is not counted before.
        total = (await app.call(caller, GetMemoryStats())).total if filters == Filters() else None
        with progress("export", total) as report:
            run = Export(app=app, caller=caller, filters=filters, report=report, on_gone=_print_gone)
            if filters != Filters() and await run.is_empty():
                raise click.ClickException(await _nothing(app, caller, filters))
            if path == "-":
                return await run.to_stream(sys.stdout.buffer)
            return await (run.to_folder if format_ == "markdown" else run.to_file)(Path(path))


async def _nothing(app: App, caller: Caller, filters: Filters) -> str:
    """Return why an export is none: what a former one wrote stays as it is."""
    from tmws_cli.suggestions import namespaces_beside  # noqa: PLC0415 - only a mistake needs it

    counts = (await app.call(caller, GetMemoryStats())).by_namespace
    reason = none_for(attrs.asdict(filters))
    return f"nothing is written. {reason}{namespaces_beside(filters.namespace, counts)}"


def _print_gone(memory_id: str) -> None:
    print(f"warning: memory {memory_id} was deleted while it was exported", file=sys.stderr)


def _print_demonstration(done: Demonstration) -> None:
    print(f"{done.memories} memories from {done.pages} pages, stored and searchable after {done.seconds:g} s.\n")
    if done.waiting:
        print(f"{done.waiting} of them wait for a vector, and are found by their words alone: see `tmws doctor`.\n")
    for answer in done.answers:
        print(f"? {answer.question}")
        print(f"  {answer.hit.session_id}  (score {answer.hit.score:.3f}, {answer.milliseconds:.0f} ms)")
        print(f"  {answer.section}")
        print(f"  {answer.excerpt}\n")
    print("Your own memories were not touched. Connect a client:")
    if is_temporary():
        print(
            "  uv tool install …  (with what stands behind `uvx --from`: what uvx runs is in its cache, and not kept)"
        )
    print(f"  claude mcp add tmws -- {program()}")


def program() -> str:
    """Return how a client starts the program that runs: by its name where the PATH leads to it, or by its full path.

    What an environment that is activated puts in the PATH is not there for a client. One that is temporary is to be
    installed first.
    """
    beside, found = Path(sys.executable).with_name("tmws"), which("tmws")
    if not beside.exists() or is_temporary():
        return "tmws"
    activated = sys.prefix != sys.base_prefix and found == str(beside)
    return "tmws" if found is not None and beside.samefile(found) and not activated else str(beside)


def is_temporary() -> bool:
    """Tell whether the program runs in a cache, where uvx puts it: the marker is that of https://bford.info/cachedir/.

    Environments that are not in a cache have the marker themselves.
    """
    return any((folder / "CACHEDIR.TAG").exists() for folder in Path(sys.prefix).parents)
