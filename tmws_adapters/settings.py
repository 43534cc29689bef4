"""Settings: read once, frozen, and refused where they are not understood."""

import difflib
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_type_hints
from urllib.parse import urlsplit

import attrs
from dotenv import dotenv_values

from tmws_adapters.local.place import DATABASE, path_of
from tmws_adapters.variables import parse
from tmws_core.domain.agent import AGENT_ID, Caller, operator
from tmws_core.domain.constraints import Text
from tmws_core.domain.namespace import NAMESPACE
from tmws_core.errors import ConfigurationError, InvalidField

PREFIX = "TMWS_"
TOOLSETS = ("memory", "tasks", "workflows", "patterns", "agents", "system")

RESERVED: Mapping[str, str] = {
    "TMWS_DATABASE_URL_READ": "read replicas need PostgreSQL",
    "TMWS_DB_POOL_SIZE": "the pool belongs to PostgreSQL",
    "TMWS_DB_MAX_OVERFLOW": "the pool belongs to PostgreSQL",
    "TMWS_REDIS_URL": "cache and bus run inside the process",
    "TMWS_REDIS_POOL_SIZE": "cache and bus run inside the process",
    "TMWS_SECRET_KEY": "there are no tokens to sign without authentication",
    "TMWS_SECRET_KEY_PREVIOUS": "there are no tokens to sign without authentication",
    "TMWS_LICENSE_KEY": "the free tier is in force",
    "TMWS_LICENSE_PUBLIC_KEY": "the free tier is in force",
    "TMWS_LICENSE_STRICT_MODE": "the free tier is in force",
    "TMWS_MAX_WORKERS": "an embedded store is served by one process",
    "TMWS_RATE_LIMIT_ENABLED": "requests are not limited on a loopback address",
    "TMWS_RATE_LIMIT_REQUESTS": "requests are not limited on a loopback address",
    "TMWS_RATE_LIMIT_PERIOD": "requests are not limited on a loopback address",
    "TMWS_RATE_LIMIT_PER_MINUTE": "requests are not limited on a loopback address",
    "TMWS_LOG_RETENTION_DAYS": "the log file is rotated from outside",
    "TMWS_AUDIT_LOG_RETENTION_DAYS": "the audit log is kept whole",
    "TMWS_ENABLE_METRICS": "figures are in get_system_stats",
    "TMWS_METRICS_PORT": "figures are in get_system_stats",
}
"""Names of the product's other deployments: accepted, so that one .env serves all, and reported as without effect."""


def _doc(text: str) -> dict[str, str]:
    return {"doc": text}


def _checked(constraint: Text) -> Callable[[object, "attrs.Attribute[Any]", str], None]:
    def check(_instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
        try:
            constraint.check(attribute.name, value)
        except InvalidField as error:
            raise ConfigurationError(setting=name_of(attribute.name), reason=error.reason, hint=error.hint) from None

    return check


def _between(low: float, high: float) -> Callable[[object, "attrs.Attribute[Any]", float], None]:
    def check(_instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
        if not low <= value <= high:
            raise ConfigurationError(
                setting=name_of(attribute.name),
                reason=f"{value:g} is out of range",
                hint=f"Give a number from {low:g} to {high:g}",
            )

    return check


@attrs.frozen(kw_only=True)
class Settings:
    """All settings, with their defaults; the variable of a field is its name in capitals behind TMWS_."""

    environment: Literal["development", "staging", "production"] = attrs.field(
        default="development", metadata=_doc("What the instance is for.")
    )
    home: Path = attrs.field(
        factory=lambda: Path.home() / ".tmws", metadata=_doc("The data directory: `tmws.db` and the logs.")
    )
    database_url: str = attrs.field(
        default="", metadata=_doc("Where the memories are: `sqlite:////absolute/path/tmws.db`; empty: in TMWS_HOME.")
    )
    vector_backend: Literal["auto", "exact", "chroma", "pgvector"] = attrs.field(
        default="auto",
        metadata=_doc("How vectors are searched; `auto`: `chroma` if TMWS_CHROMA_URL is set, else `exact`."),
    )
    chroma_url: str = attrs.field(
        default="", metadata=_doc("A Chroma server, such as `http://localhost:8001`; empty: Chroma in this process.")
    )
    chroma_persist_directory: Path | None = attrs.field(
        default=None, metadata=_doc("Where Chroma in this process keeps its files; unset: `chroma` in TMWS_HOME.")
    )
    chroma_collection: str = attrs.field(
        default="tmws_memories", metadata=_doc("What the names of the collections begin with.")
    )
    chroma_cache_size: int = attrs.field(
        default=0,
        validator=_between(0, 999_999_999),
        metadata=_doc("Vectors that Chroma holds at most, the newest; older ones are searched exactly; 0: all."),
    )
    chroma_hnsw_space: Literal["cosine", "l2", "ip"] = attrs.field(
        default="cosine", metadata=_doc("The metric of the graph; answers are cosines with each.")
    )
    chroma_hnsw_m: int = attrs.field(
        default=16, validator=_between(2, 256), metadata=_doc("Neighbours of a vector in the graph.")
    )
    chroma_hnsw_ef_construction: int = attrs.field(
        default=200, validator=_between(10, 10_000), metadata=_doc("Candidates kept while a vector is added.")
    )
    chroma_hnsw_ef_search: int = attrs.field(
        default=100,
        validator=_between(10, 10_000),
        metadata=_doc("Candidates kept while the graph is searched; at least 1,600 are."),
    )
    embedder: Literal["auto", "onnx", "ollama"] = attrs.field(
        default="auto",
        metadata=_doc("What makes the vectors; `auto`: Ollama if TMWS_OLLAMA_BASE_URL is set, else onnx."),
    )
    ollama_base_url: str = attrs.field(
        default="", metadata=_doc("Where Ollama listens, such as `http://localhost:11434`.")
    )
    ollama_model: str = attrs.field(
        default="zylonai/multilingual-e5-large", metadata=_doc("The embedding model that Ollama is asked for.")
    )
    onnx_model_dir: Path | None = attrs.field(
        default=None, metadata=_doc("A folder with `model.onnx` and `tokenizer.json`; unset: the bundled model.")
    )
    agent_id: str = attrs.field(
        default="default-agent", validator=_checked(AGENT_ID), metadata=_doc("In whose name stdio and the CLI work.")
    )
    agent_namespace: str = attrs.field(
        default="default", validator=_checked(NAMESPACE), metadata=_doc("The namespace that this agent belongs to.")
    )
    host: str = attrs.field(
        default="", metadata=_doc("The address to listen on; empty: `0.0.0.0` in production, else `127.0.0.1`.")
    )
    port: int = attrs.field(default=8000, validator=_between(0, 65535), metadata=_doc("The port to listen on."))
    request_timeout: float = attrs.field(
        default=60.0, validator=_between(0.1, 3600), metadata=_doc("Seconds that one request may take.")
    )
    owner_idle_seconds: float = attrs.field(
        default=300.0,
        validator=_between(0, 1_000_000),
        metadata=_doc("Seconds without a client after which the owner process ends; 0: at once."),
    )
    auth_enabled: bool | None = attrs.field(
        default=None, metadata=_doc("Ask HTTP callers who they are; unset: true in production, else false.")
    )
    allow_insecure: bool = attrs.field(default=False, metadata=_doc("Serve other machines without authentication."))
    cors_origins: tuple[str, ...] = attrs.field(
        default=("http://localhost:3000",), metadata=_doc("Web origins that may call: a JSON list or comma-separated.")
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = attrs.field(
        default="INFO", metadata=_doc("What is worth a line in the log.")
    )
    log_file: Path | None = attrs.field(default=None, metadata=_doc("Log to this file instead of stderr."))
    log_format: Literal["text", "json"] = attrs.field(default="text", metadata=_doc("How log lines look."))
    audit_log_enabled: bool = attrs.field(default=True, metadata=_doc("Record every change in `security_audit_logs`."))
    mcp_toolsets: tuple[str, ...] = attrs.field(
        default=("memory", "tasks", "system"),
        metadata=_doc("Which tools MCP clients see: a list of toolsets, or `all`."),
    )
    search_recency: float = attrs.field(
        default=0.0,
        validator=_between(0, 1),
        metadata=_doc("What a memory of this moment gains in a search, beside the 1 of the best match; 0: nothing."),
    )
    search_half_life_days: float = attrs.field(
        default=30.0, validator=_between(0.01, 100_000), metadata=_doc("Days after which that gain is half as much.")
    )
    search_use: float = attrs.field(
        default=0.0,
        validator=_between(0, 1),
        metadata=_doc("What being read by its id adds to a memory's score, at most; it is counted while this is set."),
    )
    search_importance: float = attrs.field(
        default=0.0,
        validator=_between(0, 1),
        metadata=_doc("What a memory of importance 1 gains in a search; 0: nothing."),
    )
    without_effect: tuple[str, ...] = attrs.field(
        default=(), metadata={"computed": "reserved variables that are set, see RESERVED"}
    )

    @property
    def sqlite_path(self) -> Path:
        """Return the database file.

        Raises:
            ConfigurationError: TMWS_DATABASE_URL names no SQLite file.
        """
        if not self.database_url:
            return self.home / DATABASE
        path = path_of(self.database_url)
        if path is None:
            raise ConfigurationError(
                setting="TMWS_DATABASE_URL",
                reason=f"the scheme {urlsplit(self.database_url).scheme or 'of this URL'} is not supported",
                hint="Give sqlite:////absolute/path/tmws.db, or leave it out",
            )
        return Path(path)

    @property
    def listen_host(self) -> str:
        """Return the address to listen on."""
        return self.host or ("0.0.0.0" if self.environment == "production" else "127.0.0.1")  # noqa: S104 - documented

    @property
    def authenticates(self) -> bool:
        """Tell whether HTTP callers have to say who they are."""
        return self.environment == "production" if self.auth_enabled is None else self.auth_enabled

    @property
    def uses_ollama(self) -> bool:
        """Tell whether Ollama makes the vectors."""
        return self.embedder == "ollama" or (self.embedder == "auto" and bool(self.ollama_base_url))

    @property
    def uses_chroma(self) -> bool:
        """Tell whether vectors are searched with Chroma."""
        return self.vector_backend == "chroma" or (self.vector_backend == "auto" and bool(self.chroma_url))

    @property
    def chroma_directory(self) -> Path:
        """Return where Chroma in this process keeps its files."""
        return self.chroma_persist_directory or self.home / "chroma"

    @property
    def timeout(self) -> timedelta:
        """Return how long one request may take."""
        return timedelta(seconds=self.request_timeout)

    def agent(self, transport: str) -> Caller:
        """Return the caller for an agent terminal: it acts in its own name only."""
        return Caller(agent_id=self.agent_id, namespace=self.agent_namespace, transport=transport)

    def operator(self, transport: str) -> Caller:
        """Return the caller for whoever owns the machine: it may act for any agent, in any namespace."""
        return operator(self.agent_id, self.agent_namespace, transport)


def name_of(field: str) -> str:
    """Return the variable of a field."""
    return PREFIX + field.upper()


def known_names() -> list[str]:
    """Return the variables that are read, without the reserved ones."""
    return [name_of(field.name) for field in attrs.fields(Settings) if "doc" in field.metadata]


def load_settings(
    environ: Mapping[str, str] | None = None,
    *,
    dotenv: Path | None = Path(".env"),
    flags: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings: defaults, then the file `dotenv`, then the environment, then flags; the later ones win.

    Any variable NAME can be read from the file that NAME_FILE names. Keys without the prefix TMWS_ are ignored.

    Raises:
        ConfigurationError: a variable is unknown or malformed, or a file cannot be read.
    """
    values = _resolved(merged_variables(environ, dotenv=dotenv, flags=flags))
    hints = get_type_hints(Settings)
    fields = {name_of(field.name): field.name for field in attrs.fields(Settings) if "doc" in field.metadata}
    parsed: dict[str, Any] = {
        fields[key]: parse(key, value, hints[fields[key]]) for key, value in values.items() if key in fields
    }
    settings = Settings(**parsed, without_effect=tuple(sorted(values.keys() & RESERVED.keys())))
    _check_together(settings)
    return settings


def merged_variables(
    environ: Mapping[str, str] | None = None,
    *,
    dotenv: Path | None = Path(".env"),
    flags: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return what `load_settings` reads, with the prefix TMWS_, before anything of it is looked at.

    Raises:
        ConfigurationError: the file `dotenv` cannot be read.
    """
    merged: dict[str, str] = {}
    for layer in (_dotenv(dotenv), os.environ if environ is None else environ, flags or {}):
        merged.update({key: value for key, value in layer.items() if key.startswith(PREFIX)})
    return merged


def _dotenv(path: Path | None) -> dict[str, str]:
    if path is None or not path.is_file():
        return {}
    try:
        return {key: value for key, value in dotenv_values(path).items() if value is not None}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(setting=str(path), reason=f"cannot be read: {error}") from None


def _resolved(raw: Mapping[str, str]) -> dict[str, str]:
    """Return the values by known name, those from files included; empty values count as not set."""
    names = {*known_names(), *RESERVED}
    values = {}
    for key, value in raw.items():
        if key in names:
            values[key] = value
        elif key.endswith("_FILE") and key.removesuffix("_FILE") in names:
            values[key.removesuffix("_FILE")] = _content_of(key, Path(value))
        else:
            near = difflib.get_close_matches(key, names, n=1)
            raise ConfigurationError(
                setting=key[:100],
                reason="is unknown",
                hint=f"Did you mean {near[0]}?" if near else "Remove it; docs/reference/settings.md lists all settings",
            )
    return {key: value for key, value in values.items() if value.strip()}


def _content_of(key: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise ConfigurationError(setting=key, reason=f"cannot be read: {reason}", hint="Name a readable file") from None


def _check_together(settings: Settings) -> None:
    unknown = [name for name in settings.mcp_toolsets if name not in (*TOOLSETS, "all")]
    if unknown:
        raise ConfigurationError(
            setting="TMWS_MCP_TOOLSETS",
            reason=f"{unknown[0][:60]!r} is no toolset",
            hint=f"Choose from: {', '.join(TOOLSETS)}, or all",
        )
    if settings.vector_backend == "pgvector":
        raise ConfigurationError(
            setting="TMWS_VECTOR_BACKEND",
            reason="pgvector is not supported by this version",
            hint="Give exact, chroma or auto",
        )
    if settings.embedder == "ollama" and not settings.ollama_base_url:
        raise ConfigurationError(
            setting="TMWS_OLLAMA_BASE_URL",
            reason="is needed by TMWS_EMBEDDER=ollama",
            hint="Give http://localhost:11434, or where Ollama listens",
        )
