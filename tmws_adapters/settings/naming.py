"""What TMWS_DATABASE_URL names, in the environment of this process."""

import os
from pathlib import Path

from tmws_adapters.local.libpq import database_of, defaults_in, former_name_of, stand_in
from tmws_adapters.paths import path_of
from tmws_core.errors import ConfigurationError

SETTING = "TMWS_DATABASE_URL"


def server_name(url: str) -> str:
    """Return the name of a PostgreSQL database.

    Raises:
        ConfigurationError: libpq would refuse the URL, or a part of a password would be shown.
    """
    return _known(database_of(url, defaults_in(os.environ)))


def server_file(url: str) -> str:
    """Return what the file is called that stands for a PostgreSQL database.

    Raises:
        ConfigurationError: see `server_name`.
    """
    return _known(stand_in(url, defaults_in(os.environ)))


def former_server_name(url: str) -> str | None:
    """Return what older versions called this PostgreSQL database alone, or None if there is no such name."""
    return former_name_of(url, defaults_in(os.environ))


def sqlite_file(url: str) -> Path:
    """Return the SQLite file of a URL.

    Raises:
        ConfigurationError: it names none.
    """
    path = path_of(url)
    if path is None:
        scheme, is_url, _ = url.partition("://")
        named = scheme if is_url and scheme.replace("+", "").isalnum() else "of this URL"
        reason = "names no SQLite file" if named.startswith("sqlite") else f"the scheme {named} is not supported"
        hint = "Give sqlite:////absolute/path/tmws.db or postgresql://user@host/database, or leave it out"
        raise ConfigurationError(setting=SETTING, reason=reason, hint=hint)
    return Path(path)


def _known(name: str | None) -> str:
    if name is None:
        raise ConfigurationError(
            setting=SETTING,
            reason="is no URL of PostgreSQL",
            hint="Write postgresql://user:password@host:port/database, and in the password %2F for /, %40 for @ and "
            "%25 for %",
        )
    return name
