"""The operations as the command line knows them: what they are called, what they do and what they take.

They are read from a file, which `docs/reference/generate.py` writes from the operations themselves: importing those
takes 0.2 s of CPU, reading the file 1 ms.
"""

import json
import os
from collections.abc import Iterator
from functools import cache
from typing import Any

FILE = os.path.join(os.path.dirname(__file__), "operations.json")
"""The file, beside this module."""


class Described:
    """One operation; `schema` is the JSON Schema of its request, `effect` the value of its Effect."""

    __slots__ = ("command", "description", "effect", "group", "name", "schema")

    def __init__(
        self, *, name: str, group: str, command: str, description: str, effect: str, schema: dict[str, Any]
    ) -> None:
        self.name = name
        self.group = group
        self.command = command
        self.description = description
        self.effect = effect
        self.schema = schema


@cache
def _file() -> dict[str, Any]:
    with open(FILE, encoding="utf-8") as file:
        read: dict[str, Any] = json.load(file)
        return read


@cache
def described() -> dict[str, Described]:
    """Return all operations by their names."""
    return {each["name"]: Described(**each) for each in _file()["operations"]}


def helps() -> dict[str, str]:
    """Return the help texts of the commands that stand for no operation, by their words."""
    read: dict[str, str] = _file()["helps"]
    return read


def others() -> dict[str, list[str]]:
    """Return the fields that a name of other programs can mean, by the name; the first that there is, is meant."""
    read: dict[str, list[str]] = _file()["aliases"]
    return read


def of_group(group: str) -> Iterator[Described]:
    """Yield the operations of a group, in the order of its help."""
    yield from sorted((each for each in described().values() if each.group == group), key=lambda each: each.command)
