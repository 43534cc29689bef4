"""The export of mcp-memory-service, and the answers of its API: memories with the digest of their text."""

from collections.abc import Iterator, Mapping
from typing import Any

from tmws_cli.transfer.formats.entries import Entry, text_of

NAME = "mcp-memory-service"


def recognises(keys: frozenset[str]) -> bool:
    """Tell by its names whether an object is such a memory, or one that was found."""
    return {"content", "content_hash"} <= keys or {"memory", "similarity_score"} <= keys


def entries(values: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the one memory; its digest is its id."""
    said = values["memory"] if isinstance(values.get("memory"), dict) else values
    told = {name: value for name, value in said.items() if name != "content"}
    identity = text_of(said.get("content_hash")) or None
    yield Entry(program="mcp-memory-service", content=said.get("content"), identity=identity, told=told)
