"""Who a client on this machine is, by what it says in the last line of its greeting."""

from collections.abc import Mapping

import attrs

from tmws_adapters.settings import Settings, load_settings, name_of
from tmws_core.domain.agent import Caller
from tmws_core.errors import InvalidField

Wants = Mapping[str, object]
"""The last line of a client's greeting."""

_OF_A_TERMINAL = frozenset({"agent_id", "agent_namespace", "mcp_toolsets"})
"""What each terminal decides for itself."""

_OF_THE_PLACE = frozenset({"home", "database_url"})
"""What led the client to this owner: another name for the same file is no difference."""

_OF_HTTP = frozenset({"host", "port", "auth_enabled", "allow_insecure", "cors_origins"})
"""What a terminal has no use for."""


def terminal_of(wants: Wants, settings: Settings) -> Settings:
    """Return the settings of the terminal that a client is; without settings of its own, those of the owner.

    Raises:
        InvalidField: what it says is malformed.
        ConfigurationError: its settings are.
    """
    variables = _variables(wants)
    if variables is not None:
        return load_settings(variables, dotenv=None)
    agent_id, namespace = wants.get("agent_id"), wants.get("namespace")
    return attrs.evolve(
        settings,
        agent_id=agent_id if isinstance(agent_id, str) else settings.agent_id,
        agent_namespace=namespace if isinstance(namespace, str) else settings.agent_namespace,
    )


def program_of(wants: Wants, terminal: Settings) -> Caller:
    """Return in whose name a program calls: the agent's that it names, or the operator's."""
    transport = "cli" if wants.get("transport") == "cli" else "python"
    return terminal.agent(transport) if "agent_id" in wants else terminal.operator(transport)


def differing(wants: Wants, terminal: Settings, settings: Settings) -> list[str]:
    """Return the variables that a terminal sets and the owner has another value for, which holds."""
    given = _variables(wants) or {}
    names = {field.name for field in attrs.fields(Settings)} - _OF_A_TERMINAL - _OF_THE_PLACE - _OF_HTTP
    return sorted(
        name_of(name)
        for name in names
        if {name_of(name), f"{name_of(name)}_FILE"} & given.keys()
        and getattr(terminal, name) != getattr(settings, name)
    )


def _variables(wants: Wants) -> dict[str, str] | None:
    given = wants.get("settings")
    if given is None:
        return None
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise InvalidField(name="settings", reason="must be an object of texts")
    return given
