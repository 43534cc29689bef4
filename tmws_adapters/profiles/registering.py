"""Registers the agents of a file: those that are known stay as they are, unless they are to be updated."""

import logging
from pathlib import Path
from typing import Any, Protocol, TypeVar

import attrs

from tmws_adapters.profiles.files import Profiles, first_file, profiles_in
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.errors import AgentNotFound, TmwsError
from tmws_core.messages.agents import AgentView, GetAgent, RegisterAgent, UpdateAgent
from tmws_core.operation import Request

logger = logging.getLogger("tmws")

Answer = TypeVar("Answer")

_COMPARED = ("namespace", "role", "display_name", "description", "capabilities", "metadata")


class Ask(Protocol):
    """Runs an operation of an app in this process or elsewhere."""

    async def __call__(self, request: Request[Answer], /) -> Answer:
        """Return the answer to a request."""
        ...


@attrs.frozen(kw_only=True)
class Refused:
    """An agent that could not be registered or updated, and why."""

    agent_id: str
    field: str
    reason: str


@attrs.define(kw_only=True)
class Registered:
    """What became of the agents of a file, by their ids; `known` are those that stayed as they are."""

    registered: list[str] = attrs.field(factory=list)
    updated: list[str] = attrs.field(factory=list)
    known: list[str] = attrs.field(factory=list)
    refused: list[Refused] = attrs.field(factory=list)


async def register_all(ask: Ask, profiles: Profiles, *, update: bool = False, dry_run: bool = False) -> Registered:
    """Register the agents of a file, each for itself; with `update`, those that are known become as the file says.

    With `dry_run` nothing is changed. An update leaves alone what the file leaves out, but for the role.
    """
    done = Registered()
    for index, wanted in enumerate(profiles.agents):
        try:
            await _register(ask, wanted, done, update=update, dry_run=dry_run)
        except TmwsError as error:
            field = f"agents[{index}].{error.field or 'agent_id'}"
            done.refused.append(Refused(agent_id=wanted.agent_id, field=field, reason=error.message))
    return done


async def load_custom_agents(app: App, caller: Caller, home: Path) -> None:
    """Register the agents of the first file there is, and log what became of them; nothing of it is an error."""
    path = first_file(home)
    if path is None:
        return

    async def ask(request: Request[Answer]) -> Answer:
        return await app.call(caller, request)

    try:
        done = await register_all(ask, profiles_in(path))
    except (TmwsError, OSError) as error:
        logger.warning("⚠️ The agents in %s are not registered: %s", path, error)
        return
    counts = f"{len(done.registered)} registered, {len(done.known)} known"
    logger.info("✅ Custom agents: %s, from %s", counts, path)
    for each in done.refused:
        logger.warning("⚠️ %s: %s (%s) is not registered: %s", path, each.field, each.agent_id, each.reason)


async def _register(ask: Ask, wanted: RegisterAgent, done: Registered, *, update: bool, dry_run: bool) -> None:
    try:
        former = (await ask(GetAgent(agent_id=wanted.agent_id))).agent
    except AgentNotFound:
        if not dry_run:
            await ask(wanted)
        done.registered.append(wanted.agent_id)
        return
    different = _different(former, wanted) if update else {}
    if different and not dry_run:
        await ask(UpdateAgent(agent_id=wanted.agent_id, **different))
    (done.updated if different else done.known).append(wanted.agent_id)


def _different(former: AgentView, wanted: RegisterAgent) -> dict[str, Any]:
    given = {name: getattr(wanted, name) for name in _COMPARED if getattr(wanted, name)}
    return {name: value for name, value in given.items() if value != getattr(former, name)}
