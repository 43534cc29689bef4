"""The formats that are known, and which of them an object belongs to."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from tmws_cli.transfer.formats import chatgpt, claude, mem0, memory_service, other, server_memory
from tmws_cli.transfer.formats.entries import Entry


@attrs.frozen
class Format:
    """What a program writes, by its name for people.

    `recognises` tells by the names of an object whether it is one of these, `entries` yields what it says.
    """

    name: str
    recognises: Callable[[frozenset[str]], bool]
    entries: Callable[[Mapping[str, Any]], Iterator[Entry]]


FORMATS = tuple(
    Format(module.NAME, module.recognises, module.entries)
    for module in (chatgpt, claude, server_memory, memory_service, mem0, other)
)
"""In the order in which they are asked."""

PROGRAMS = frozenset(each.name for each in FORMATS if each.name != other.NAME)
"""Whose dumps are told by a shape of their own."""


def format_of(keys: frozenset[str]) -> Format | None:
    """Return the format of an object with these names, or None if it is ours or nobody's."""
    return next((each for each in FORMATS if each.recognises(keys)), None)
