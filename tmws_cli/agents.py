"""The command `tmws agent import`: registering the agents of a file."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import attrs
import click

from tmws_adapters.bootstrap import open_app
from tmws_adapters.profiles import (
    PROFILES,
    Ask,
    Profiles,
    Registered,
    bundled_profiles,
    custom_files,
    first_file,
    profiles_in,
    register_all,
)
from tmws_adapters.remote import ServiceUnreachable, open_running
from tmws_adapters.settings import Settings, merged_variables
from tmws_cli.exits import FAILURE
from tmws_cli.options import Invocation, invocation_of, with_common_options
from tmws_cli.output import printable
from tmws_core.operation import Request

Answer = TypeVar("Answer")


@click.command("import")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--profile", type=click.Choice(PROFILES), help="Agents that come with TMWS, instead of a file.")
@click.option("--update", is_flag=True, help="Change agents that are known to what the file says.")
@click.option("--dry-run", is_flag=True, help="Tell what would happen, and change nothing.")
@click.pass_context
def import_agents(
    context: click.Context, file: str | None, profile: str | None, *, update: bool, dry_run: bool
) -> None:
    """Register the agents in a JSON file.

    Without FILE it is custom_agents.json in TMWS_HOME, or else /etc/tmws/custom_agents.json. Agents that are known stay
    as they are.
    """
    if file is not None and profile is not None:
        raise click.UsageError("Give a file or --profile, not both.")
    invocation = invocation_of(context)
    settings = invocation.settings()
    profiles = _chosen(file, profile, settings.home)
    done = anyio.run(_register, invocation, settings, profiles, Choice(update, dry_run))
    if invocation.as_json:
        facts = {"success": not done.refused, "source": profiles.name, "dry_run": dry_run, **attrs.asdict(done)}
        print(json.dumps(facts, ensure_ascii=False))
    else:
        for line in _lines(profiles.name, done, dry_run=dry_run):
            print(printable(line))
    if done.refused:
        context.exit(FAILURE)


with_common_options(import_agents)


@attrs.frozen
class Choice:
    """How to go about it; see `register_all`."""

    update: bool
    dry_run: bool


def _chosen(file: str | None, profile: str | None, home: Path) -> Profiles:
    if profile is not None:
        return bundled_profiles(profile)
    if file is not None:
        return profiles_in(Path(file))
    found = first_file(home)
    if found is None:
        places = ", ".join(str(path) for path in custom_files(home))
        raise click.UsageError(f"There is no file of agents: none of {places}. Name one, or give --profile.")
    return profiles_in(found)


async def _register(invocation: Invocation, settings: Settings, profiles: Profiles, choice: Choice) -> Registered:
    async with _asking(invocation, settings) as ask:
        return await register_all(ask, profiles, **attrs.asdict(choice))


@asynccontextmanager
async def _asking(invocation: Invocation, settings: Settings) -> AsyncIterator[Ask]:
    """Open the running owner of the database if there is one, or else the database."""
    async with AsyncExitStack() as stack:
        try:
            running = await stack.enter_async_context(open_running(settings, merged_variables(flags=invocation.flags)))
        except ServiceUnreachable:
            app = await stack.enter_async_context(open_app(settings, any_model=True))

            async def ask(request: Request[Answer]) -> Answer:
                return await app.call(settings.operator(transport="cli"), request)

            yield ask
        else:
            yield running.call


def _lines(name: str, done: Registered, *, dry_run: bool) -> list[str]:
    would = "Would be registered" if dry_run else "Registered"
    counts = f"{would} {len(done.registered)}, updated {len(done.updated)}, known already {len(done.known)}"
    listed: list[tuple[str, list[Any]]] = [("registered", done.registered), ("updated", done.updated)]
    return [
        f"{name}: {counts}, refused {len(done.refused)}",
        *(f"  {word}: {agent_id}" for word, ids in listed for agent_id in ids),
        *(f"  refused: {each.agent_id}: {each.field}: {each.reason}" for each in done.refused),
    ]
