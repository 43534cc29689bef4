"""Texts of environment variables as values."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from tmws_adapters.paths import located, unexpanded
from tmws_core.errors import ConfigurationError

_SECRETS = frozenset({"TMWS_SECRET_KEY", "TMWS_SECRET_KEY_PREVIOUS", "TMWS_LICENSE_KEY"})


def parse(key: str, value: str, hint: Any) -> object:
    """Return the value of a variable of the type `hint`; ConfigurationError if it is none."""
    if get_origin(hint) is Literal:
        return _literal(key, value, get_args(hint))
    if get_origin(hint) is tuple:
        return _list(key, value)
    wanted = next(kind for kind in (get_args(hint) or (hint,)) if kind is not type(None))
    if wanted is Path or "_URL" in key:
        refuse_unexpanded(key, value)
    parsers: dict[type, Callable[[str, str], object]] = {int: _integer, float: _number, bool: _boolean, Path: _path}
    return parsers[wanted](key, value) if wanted in parsers else value.strip()


def refuse_unexpanded(key: str, value: str) -> None:
    """Refuse the path or URL of a variable in which some client has not expanded `${NAME}` or the like.

    Raises:
        ConfigurationError: there is such a name in it, which is said, unless it may be a part of a password.
    """
    name = unexpanded(value)
    if name is not None:
        name = "a name in ${…}, $… or %…%" if "@" in value else name
        raise ConfigurationError(
            setting=key,
            reason=f"holds {name[:60]}, which nothing has expanded",
            hint=f"Write out what it stands for, or leave {key} unset",
        )


def _literal(key: str, value: str, choices: tuple[str, ...]) -> str:
    found = [choice for choice in choices if choice.lower() == value.strip().lower()]
    if not found:
        raise ConfigurationError(
            setting=key, reason=f"{_shown(key, value)} is not allowed", hint=f"Choose one of: {', '.join(choices)}"
        )
    return found[0]


def _list(key: str, value: str) -> tuple[str, ...]:
    if not value.lstrip().startswith("["):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    try:
        items = json.loads(value)
    except ValueError:
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ConfigurationError(setting=key, reason="is no list of strings", hint='Give ["a", "b"] or a,b')
    return tuple(items)


def _integer(key: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value.strip()):
        raise ConfigurationError(
            setting=key, reason=f"{_shown(key, value)} is no whole number", hint="Give digits only"
        )
    return int(value)


def _number(key: str, value: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value.strip()):
        raise ConfigurationError(
            setting=key, reason=f"{_shown(key, value)} is no number", hint="Give seconds, like 2.5"
        )
    return float(value)


def _boolean(key: str, value: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if value.strip().lower() not in words:
        raise ConfigurationError(setting=key, reason=f"{_shown(key, value)} is not allowed", hint="Give true or false")
    return words[value.strip().lower()]


def _path(key: str, value: str) -> Path:
    """Return a path that means the same wherever the process goes later."""
    path = located(value.strip())
    if path is None:
        raise ConfigurationError(
            setting=key, reason=f"{value.strip()[:60]!r} leads nowhere", hint="Give an absolute path"
        )
    return Path(path)


def _shown(key: str, value: str) -> str:
    return "its value" if key in _SECRETS else repr(value[:60])
