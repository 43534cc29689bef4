"""What the fields of requests and answers mean, in words: the one table that schemas, help texts and pages read."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

ANY = "any"
"""The table that holds for every class."""


@cache
def meanings() -> Mapping[str, Mapping[str, str]]:
    """Return the table of each class, by its name: what each of its fields means."""
    return tomllib.loads(files(__package__).joinpath("meanings.toml").read_text(encoding="utf-8"))


def table_of(cls: type, field: str) -> str | None:
    """Return which table tells what a field of a class means: its own, that of a base, or ANY; None if none does."""
    tables = (*(base.__name__ for base in cls.__mro__), ANY)
    return next((table for table in tables if field in meanings().get(table, {})), None)


def meaning_of(cls: type, field: str) -> str | None:
    """Return what a field of a class means, as a sentence of Markdown; None if nothing tells."""
    table = table_of(cls, field)
    return None if table is None else meanings()[table][field]
