"""Reading the settings: once, and refused where they are not understood."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_type_hints

import attrs

from tmws_adapters.local.libpq import SERVER_SCHEMES, parameters_of
from tmws_adapters.local.place import HOME
from tmws_adapters.paths import located
from tmws_adapters.private import read_small
from tmws_adapters.settings.fields import PREFIX, name_of
from tmws_adapters.settings.files import NAME, variables_in
from tmws_adapters.settings.naming import server_name
from tmws_adapters.settings.values import TOOLSETS, Settings
from tmws_adapters.variables import parse, refuse_unexpanded
from tmws_core.domain.nearest import nearest
from tmws_core.errors import ConfigurationError

RESERVED: Mapping[str, str] = {
    "TMWS_LOG_RETENTION_DAYS": "the log file is rotated from outside",
    "TMWS_ENABLE_METRICS": "figures are in get_system_stats",
    "TMWS_METRICS_PORT": "figures are in get_system_stats",
}
"""Names of the product's other deployments: accepted, so that one .env serves all, and reported as without effect."""

ENV_FILE = "TMWS_ENV_FILE"
"""Names a further file with settings; read from the environment only."""

HOME_SETTING = name_of("home")

SECRET_CHARACTERS = 32
"""The shortest secret key: 128 bits, if it is hexadecimal."""


def known_names() -> list[str]:
    """Return the variables that are read, without the reserved ones."""
    return [name_of(field.name) for field in attrs.fields(Settings) if "doc" in field.metadata]


def load_settings(
    environ: Mapping[str, str] | None = None,
    *,
    dotenv: Path | Literal["usual"] | None = "usual",
    flags: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings: defaults, then files, then the environment, then flags; the later ones win.

    The usual files are `.env` in TMWS_HOME and the one that TMWS_ENV_FILE names; `dotenv` is another one instead, or
    none. Never is one found in the working directory, which may be a stranger's. Any variable NAME can be read from the
    file that NAME_FILE names. Keys without the prefix TMWS_ are ignored.

    Raises:
        ConfigurationError: a variable is unknown or malformed, or a file cannot be read.
    """
    given = _given(environ, dotenv, flags or {})
    values = _resolved(given.variables)
    hints = get_type_hints(Settings)
    fields = {name_of(field.name): field.name for field in attrs.fields(Settings) if "doc" in field.metadata}
    parsed: dict[str, Any] = {
        fields[key]: parse(key, value, hints[fields[key]]) for key, value in values.items() if key in fields
    }
    settings = Settings(**parsed, without_effect=tuple(sorted(values.keys() & RESERVED.keys())), files=given.files)
    _check_together(settings)
    return settings


def merged_variables(
    environ: Mapping[str, str] | None = None,
    *,
    dotenv: Path | Literal["usual"] | None = "usual",
    flags: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return what `load_settings` reads, with the prefix TMWS_, before anything of it is looked at.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    return _given(environ, dotenv, flags or {}).variables


@attrs.frozen
class _Given:
    variables: dict[str, str]
    files: tuple[Path, ...]


def _given(
    environ: Mapping[str, str] | None, dotenv: Path | Literal["usual"] | None, flags: Mapping[str, str]
) -> _Given:
    given = _ours(os.environ if environ is None else environ) | _ours(flags)
    name = given.pop(ENV_FILE, "").strip()
    files: list[Path] = []
    if isinstance(dotenv, Path):
        files.append(dotenv)
        given = _ours(variables_in(dotenv, named=False)) | given
    elif dotenv == "usual":
        if name:
            files.append(_named(name))
            given = _ours(variables_in(files[0], named=True)) | given
        home = _home_of(given)
        if home is not None:
            found = _in_home(home)
            files[:0] = [home / NAME] if found else []
            given = found | given
    return _Given(given, tuple(files))


def _ours(variables: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in variables.items() if key.startswith(PREFIX)}


def _named(name: str) -> Path:
    refuse_unexpanded(ENV_FILE, name)
    path = located(name)
    if path is None:
        raise ConfigurationError(setting=ENV_FILE, reason=f"{name[:60]!r} leads nowhere", hint="Give an absolute path")
    return Path(path)


def _home_of(given: Mapping[str, str]) -> Path | None:
    """Return the data directory, or None if there is none that could hold a file; the settings say why."""
    named = f"{HOME_SETTING}_FILE"
    home = _content_of(named, Path(given[named])) if given.get(named, "").strip() else given.get(HOME_SETTING, "")
    path = located(home.strip() or HOME)
    return None if path is None else Path(path)


def _in_home(home: Path) -> dict[str, str]:
    """Return what the file in the data directory says; where that is and what else is read is not for it to say."""
    found = _ours(variables_in(home / NAME, named=False))
    again = found.pop(HOME_SETTING, "").strip()
    misplaced = [name for name in (ENV_FILE, f"{HOME_SETTING}_FILE") if name in found]
    if misplaced or (again and located(again) != str(home)):
        raise ConfigurationError(
            setting=str(home / NAME),
            reason=f"sets {misplaced[0] if misplaced else HOME_SETTING}, which leads to this file",
            hint="Set it in the environment",
        )
    return found


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
    refuse_unexpanded(key, str(path))
    try:
        return read_small(str(path)).decode("utf-8").strip()
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
    if settings.uses_postgres:
        server_name(settings.database_url)
    if not all(each.startswith(SERVER_SCHEMES) and parameters_of(each) is not None for each in settings.replica_urls):
        raise ConfigurationError(
            setting="TMWS_DATABASE_URL_READ",
            reason="names no PostgreSQL server",
            hint="Write postgresql://user:password@host/database, with %2F for / and %40 for @ in a password, and a "
            "comma between two of them",
        )
    if settings.embedder == "ollama" and not settings.ollama_base_url:
        raise ConfigurationError(
            setting="TMWS_OLLAMA_BASE_URL",
            reason="is needed by TMWS_EMBEDDER=ollama",
            hint="Give http://localhost:11434, or where Ollama listens",
        )
