"""The graph of MCP's reference server for memory: entities with observations, and relations between them.

One object a line (`memory.jsonl`, formerly `memory.json`), or the answer of its `read_graph`.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tmws_cli.transfer.formats.entries import Entry, first_text, text_of

NAME = "MCP server-memory"
_KINDS = ("relationType", "relation_type")
_TEXTS = ("content", "text")


def recognises(keys: frozenset[str]) -> bool:
    """Tell by its names whether an object is an entity or a relation."""
    return {"name", "observations"} <= keys or {"name", "entityType"} <= keys or _is_relation(keys)


def entries(values: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield one entry an observation; an entity without any is one by itself, and so is a relation."""
    if _is_relation(values.keys()):
        yield _relation(values)
        return
    name, kind = text_of(values["name"]), text_of(values.get("entityType"))
    told = {key: value for key, value in values.items() if key not in ("type", "name", "observations", "entityType")}
    told |= {"entity": name, "entity_type": kind or None}
    fields = {"source": f"server-memory: {name}", "tags": [kind]}
    texts = _texts(values.get("observations"))
    for text in texts:
        yield Entry(program="server-memory", content=f"{name}: {text}", told=told, fields=fields)
    if not texts:
        content = f"{name} ({kind})" if kind else name
        yield Entry(program="server-memory", content=content, told=told, fields=fields)


def _is_relation(keys: Collection[str]) -> bool:
    return "from" in keys and "to" in keys and any(name in keys for name in _KINDS)


def _relation(values: Mapping[str, Any]) -> Entry:
    kind = first_text(values, _KINDS)
    content = f"{text_of(values['from'])} {kind.replace('_', ' ')} {text_of(values['to'])}"
    told = {key: value for key, value in values.items() if key not in ("type", *_KINDS)}
    fields = {"source": f"server-memory: {text_of(values['from'])}", "tags": ["relation"]}
    return Entry(program="server-memory", content=content, told=told | {"relation_type": kind}, fields=fields)


def _texts(observations: Any) -> list[str]:
    """Return the texts of observations, which some versions keep in objects."""
    listed = observations if isinstance(observations, list) else [observations]
    texts = (first_text(each, _TEXTS) if isinstance(each, dict) else each for each in listed)
    return [text for text in map(text_of, texts) if text.strip()]
