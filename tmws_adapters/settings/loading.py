"""Reading the settings: once, and refused where they are not understood."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import attrs
from dotenv import dotenv_values

from tmws_adapters.local.place import SERVER_SCHEMES
from tmws_adapters.settings.fields import PREFIX, name_of
from tmws_adapters.settings.values import TOOLSETS, Settings
from tmws_adapters.variables import parse
from tmws_core.domain.nearest import nearest
from tmws_core.errors import ConfigurationError

RESERVED: Mapping[str, str] = {
    "TMWS_LOG_RETENTION_DAYS": "the log file is rotated from outside",
    "TMWS_ENABLE_METRICS": "figures are in get_system_stats",
    "TMWS_METRICS_PORT": "figures are in get_system_stats",
}
"""Names of the product's other deployments: accepted, so that one .env serves all, and reported as without effect."""

SECRET_CHARACTERS = 32
"""The shortest secret key: 128 bits, if it is hexadecimal."""


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
            near = nearest(key, names)
            raise ConfigurationError(
                setting=key[:100],
                reason="is unknown",
                hint=f"Did you mean {near}?" if near else "Remove it; docs/reference/settings.md lists all settings",
            )
    return {key: value for key, value in values.items() if value.strip()}


def _content_of(key: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise ConfigurationError(setting=key, reason=f"cannot be read: {reason}", hint="Name a readable file") from None


def _check_together(settings: Settings) -> None:
    for name in ("secret_key", "secret_key_previous"):
        if 0 < len(getattr(settings, name)) < SECRET_CHARACTERS:
            raise ConfigurationError(
                setting=name_of(name),
                reason=f"has fewer than {SECRET_CHARACTERS} characters",
                hint="Make one with: openssl rand -hex 32",
            )
    unknown = [name for name in settings.mcp_toolsets if name not in (*TOOLSETS, "all")]
    if unknown:
        raise ConfigurationError(
            setting="TMWS_MCP_TOOLSETS",
            reason=f"{unknown[0][:60]!r} is no toolset",
            hint=f"Choose from: {', '.join(TOOLSETS)}, or all",
        )
    if settings.vector_backend == "pgvector" and not settings.uses_postgres:
        raise ConfigurationError(
            setting="TMWS_VECTOR_BACKEND",
            reason="pgvector needs PostgreSQL",
            hint="Give exact, chroma or auto, or set TMWS_DATABASE_URL to a PostgreSQL database",
        )
    if settings.database_url_read and not settings.uses_postgres:
        raise ConfigurationError(
            setting="TMWS_DATABASE_URL_READ",
            reason="replicas need PostgreSQL",
            hint="Leave it out, or set TMWS_DATABASE_URL to a PostgreSQL database",
        )
    if not all(each.startswith(SERVER_SCHEMES) for each in settings.replica_urls):
        raise ConfigurationError(
            setting="TMWS_DATABASE_URL_READ",
            reason="names no PostgreSQL server",
            hint="Write postgresql://user:password@host/database, and a comma between two of them",
        )
    if settings.embedder == "ollama" and not settings.ollama_base_url:
        raise ConfigurationError(
            setting="TMWS_OLLAMA_BASE_URL",
            reason="is needed by TMWS_EMBEDDER=ollama",
            hint="Give http://localhost:11434, or where Ollama listens",
        )
