"""Files of agents: where they are looked for, and what they hold."""

from importlib import resources
from pathlib import Path

import attrs
import orjson

from tmws_adapters.reading import regular_file
from tmws_core.domain.constraints import Items
from tmws_core.doubles import faithful
from tmws_core.errors import InvalidField
from tmws_core.messages.agents import RegisterAgent
from tmws_core.wire import structure

FILE = "custom_agents.json"

SYSTEM_DIRECTORY = Path("/etc/tmws")

PROFILES = ("trinitas",)
"""The files that come with the program."""

AGENTS = 1000
"""In one file; registering so many takes seconds."""

FILE_BYTES = 32 * 1024 * 1024
"""The longest file: that many agents, each as large as one may be."""


@attrs.frozen(kw_only=True)
class _File:
    agents: tuple[RegisterAgent, ...] = attrs.field(validator=Items(maximum=AGENTS))


@attrs.frozen(kw_only=True)
class Profiles:
    """The agents of one file, by its name or its path."""

    name: str
    agents: tuple[RegisterAgent, ...]


def custom_files(home: Path) -> list[Path]:
    """Return where custom agents are looked for, in this order: never where a program happens to be started."""
    return [home / FILE, SYSTEM_DIRECTORY / FILE]


def first_file(home: Path) -> Path | None:
    """Return the first file of custom agents that exists."""
    return next((path for path in custom_files(home) if path.is_file()), None)


def profiles_in(path: Path) -> Profiles:
    """Read a file: a JSON list of inputs of register_agent, or an object with such a list as `agents`.

    Raises:
        InvalidField: it is no regular file or no JSON, or an agent is not valid; the field is named by its path in it.
        RequestTooLarge: it has more than FILE_BYTES.
        OSError: it cannot be read.
    """
    return Profiles(name=str(path), agents=_agents(regular_file(path, FILE_BYTES)))


def bundled_profiles(name: str) -> Profiles:
    """Return the agents of a file that comes with the program."""
    file = resources.files(__package__).joinpath(f"{name}.json")
    return Profiles(name=name, agents=_agents(file.read_bytes()))


def _agents(raw: bytes) -> tuple[RegisterAgent, ...]:
    try:
        read = faithful(raw, orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        raise InvalidField(
            name="agents", reason=f"the file is no JSON: {error}", hint="Give a list of agents"
        ) from None
    agents = structure({"agents": read} if isinstance(read, list) else read, _File).agents
    seen: set[str] = set()
    for index, agent in enumerate(agents):
        if agent.agent_id in seen:
            raise InvalidField(name=f"agents[{index}].agent_id", reason=f"{agent.agent_id} is there twice")
        seen.add(agent.agent_id)
    return agents
