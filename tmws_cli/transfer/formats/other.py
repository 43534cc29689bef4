"""Dumps of programs that are not known by name: objects that have one text, under one of its usual names."""

from collections.abc import Iterator, Mapping
from typing import Any

from tmws_cli.transfer.formats.entries import Entry, below_title, identity_of, name_of_text
from tmws_cli.transfer.records import OWN_NAMES

NAME = "another program"
TEXTS = ("content", "memory", "text", "page_content", "note", "body", "fact", "observation", "message", "document")
"""Names of a text, in the order in which they are looked for."""

_IDENTITIES = ("id", "uuid", "_id", "key")


def recognises(keys: frozenset[str]) -> bool:
    """Tell by its names whether an object has a text, and is none of ours: it has an id, and what we know nothing of.

    Without an id an unknown name may be a slip in what was written for TMWS, which is refused.
    """
    if "content" in keys:
        return bool(keys & {*_IDENTITIES}) and not keys <= OWN_NAMES
    return bool(keys & {*TEXTS})


def entries(values: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the one memory."""
    name = name_of_text(values, TEXTS) or next(name for name in TEXTS if name in values)
    told = {each: value for each, value in values.items() if each != name}
    content = below_title(values[name], told)
    yield Entry(program="import", is_known=False, content=content, identity=identity_of(values, _IDENTITIES), told=told)
