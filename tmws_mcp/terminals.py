"""Who a client on this machine is, by what it says in the last line of its greeting."""

import os
from collections.abc import Mapping

import attrs

from tmws_adapters.local.libpq import database_of, defaults_in
from tmws_adapters.local.record import Record
from tmws_adapters.settings import Settings, load_settings, name_of
from tmws_core.domain.agent import Caller, Transport
from tmws_core.errors import ConfigurationError, InvalidField

Wants = Mapping[str, object]
"""The last line of a client's greeting."""

_OF_A_TERMINAL = frozenset({"agent_id", "agent_namespace", "mcp_toolsets"})
"""What each terminal decides for itself."""

_OF_THE_PLACE = frozenset({"home", "database_url"})
"""What led the client to this owner: another name for the same file is no difference, another database is refused."""

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
    transport: Transport = "cli" if wants.get("transport") == "cli" else "python"
    return terminal.agent(transport=transport) if "agent_id" in wants else terminal.operator(transport=transport)


def check_alike(wants: Wants, terminal: Settings, settings: Settings, record: Record) -> None:
    """Let nobody's texts go where the owner's settings send them and not the client's.

    A client that says all it has, and meets an owner that another terminal started, means the defaults as well; other
    clients mean what they say. A server was started by whoever runs the machine.

    Raises:
        ConfigurationError: what is stored, or what sees the texts, would be something else.
    """
    hers = _destinations(terminal, _texts_in(wants, "libpq") or {})
    his = _destinations(settings, defaults_in(os.environ))
    differing = {name for name in hers.keys() | his.keys() if hers.get(name) != his.get(name)}
    if not (wants.get("complete") is True and record.kind == "owner"):
        given = _variables(wants) or {}
        differing = {name for name in differing if {name, f"{name}_FILE"} & given.keys()}
    if differing:
        raise ConfigurationError(
            setting=", ".join(sorted(differing)),
            reason=f"process {record.pid}, which owns the database, works with other values",
            hint=f"Set the same ones everywhere, best in .env in TMWS_HOME, or end it with: kill {record.pid}",
        )


def _destinations(settings: Settings, libpq: Mapping[str, str]) -> dict[str, object]:
    """Return by variable what decides where texts and vectors go, and whether it is recorded, as far as it counts.

    A database of a server is named by the `libpq` variables of whose settings these are, too; a file is what led here.
    """
    found: dict[str, object] = {
        "TMWS_DATABASE_URL": database_of(settings.database_url, libpq) if settings.uses_postgres else None,
        "TMWS_DATABASE_URL_READ": settings.database_url_read,
        "TMWS_REDIS_URL": settings.redis_url,
        "TMWS_AUDIT_LOG_ENABLED": settings.audit_log_enabled,
        "TMWS_EMBEDDER": settings.uses_ollama,
        "TMWS_VECTOR_BACKEND": (settings.uses_chroma, settings.uses_pgvector),
    }
    if settings.uses_ollama:
        found |= {"TMWS_OLLAMA_BASE_URL": settings.ollama_base_url, "TMWS_OLLAMA_MODEL": settings.ollama_model}
    else:
        found["TMWS_ONNX_MODEL_DIR"] = settings.onnx_model_dir
    if settings.uses_chroma:
        found |= {"TMWS_CHROMA_URL": settings.chroma_url, "TMWS_CHROMA_COLLECTION": settings.chroma_collection}
    if settings.uses_chroma and not settings.chroma_url:
        found["TMWS_CHROMA_PERSIST_DIRECTORY"] = settings.chroma_directory.resolve()
    return found


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
    return _texts_in(wants, "settings")


def _texts_in(wants: Wants, name: str) -> dict[str, str] | None:
    given = wants.get(name)
    if given is None:
        return None
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise InvalidField(name=name, reason="must be an object of texts")
    return given
