"""How a setting is described and checked."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from tmws_adapters.local.place import HOME
from tmws_adapters.paths import located
from tmws_core.domain.constraints import Text
from tmws_core.errors import ConfigurationError, InvalidField

PREFIX = "TMWS_"

REQUEST_SECONDS = 60.0
"""How long a request may take where nobody says: MCP clients give up after as long."""


def name_of(field: str) -> str:
    """Return the variable of a field."""
    return PREFIX + field.upper()


def doc(text: str) -> dict[str, str]:
    """Return the metadata of a field that a variable sets."""
    return {"doc": text}


def checked(constraint: Text) -> Callable[[object, "attrs.Attribute[Any]", str], None]:
    """Return a validator for a text."""

    def check(_instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
        try:
            constraint.check(attribute.name, value)
        except InvalidField as error:
            raise ConfigurationError(setting=name_of(attribute.name), reason=error.reason, hint=error.hint) from None

    return check


def between(low: float, high: float) -> Callable[[object, "attrs.Attribute[Any]", float], None]:
    """Return a validator for a number."""

    def check(_instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
        if not low <= value <= high:
            raise ConfigurationError(
                setting=name_of(attribute.name),
                reason=f"{value:g} is out of range",
                hint=f"Give a number from {low:g} to {high:g}",
            )

    return check


def moment(_instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    """Refuse a text that is neither empty nor a time with its zone; a validator."""
    try:
        zoned = not value or datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        zoned = False
    if not zoned:
        raise ConfigurationError(
            setting=name_of(attribute.name),
            reason=f"{value[:40]!r} is not a time",
            hint="Give RFC 3339, such as 2026-12-31T00:00:00Z",
        )


def default_home() -> Path:
    """Return the data directory of a user who names none.

    Raises:
        ConfigurationError: the user has no home.
    """
    path = located(HOME)
    if path is None:
        raise ConfigurationError(
            setting="TMWS_HOME",
            reason="is not set, and this user has no home directory",
            hint="Set TMWS_HOME to a directory for the data",
        )
    return Path(path)
