"""The formats that are known, and which of them an object belongs to."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from tmws_cli.transfer.formats import (
    chatgpt,
    claude,
    claude_code,
    claude_mem,
    codex,
    mem0,
    memory_service,
    other,
    server_memory,
)
from tmws_cli.transfer.formats.entries import Entry, Turns


@attrs.frozen
class Format:
    """What a program writes, by its name for people.

    `recognises` tells by the names of an object whether it is one of these, `entries` yields what it says.
    """

    name: str
    recognises: Callable[[frozenset[str]], bool]
    entries: Callable[[Mapping[str, Any]], Iterator[Entry]]


def _line_alone(turns: Callable[[], Turns]) -> Callable[[Mapping[str, Any]], Iterator[Entry]]:
    """Return what reads a line that stands in no file of lines."""
    return lambda values: turns().entries(values)


TRANSCRIPTS: Mapping[str, Callable[[], Turns]] = {module.NAME: module.turns for module in (claude_code, codex)}
"""What reads the lines in which a program writes down a session, by its name."""

FORMATS = (
    *(Format(each.NAME, each.recognises, each.entries) for each in (chatgpt, claude, claude_mem, server_memory)),
    *(Format(each.NAME, each.recognises, each.entries) for each in (memory_service, mem0)),
    *(Format(each.NAME, each.recognises, _line_alone(each.turns)) for each in (claude_code, codex)),
    Format(other.NAME, other.recognises, other.entries),
)
"""In the order in which they are asked."""

PROGRAMS = frozenset(each.name for each in FORMATS if each.name != other.NAME)
"""Whose dumps are told by a shape of their own."""


def format_of(keys: frozenset[str]) -> Format | None:
    """Return the format of an object with these names, or None if it is ours or nobody's."""
    return next((each for each in FORMATS if each.recognises(keys)), None)
