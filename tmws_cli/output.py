"""Answers for people: what was asked for, clipped to the terminal, or the answer of the wire as JSON."""

import json
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

WIDTH = 120
"""Columns of a hit where stdout is no terminal."""

_WIDE = "WF"
"""The East Asian widths that take two columns (Unicode Annex 11)."""


def show(answer: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the answer of an operation."""
    if as_json:
        print_json(answer)
        return
    for line in _lines(answer):
        print(line)
    for reason in answer.get("degraded", ()):
        print(f"warning: {reason}", file=sys.stderr)


def print_json(facts: Mapping[str, Any]) -> None:
    """Print one line of JSON."""
    print(json.dumps(facts, ensure_ascii=False))


def clipped(text: str, columns: int) -> str:
    """Return the text on one line, cut to the columns of a terminal."""
    line = printable(" ".join(text.split()))
    taken = 0
    for index, character in enumerate(line):
        taken += 2 if unicodedata.east_asian_width(character) in _WIDE else 1
        if taken > columns:
            return f"{line[: max(index - 1, 0)]}…"
    return line


def printable(text: str) -> str:
    """Return the text without what a terminal would obey instead of show; line breaks and tabs stay."""
    return "".join(character if character.isprintable() or character in "\n\t" else "\ufffd" for character in text)


def _lines(answer: Mapping[str, Any]) -> Iterator[str]:
    match answer:
        case {"results": [*hits], "search_source": _}:
            yield from _hits(hits, nothing_relevant=answer["nothing_relevant"])
        case {"memories": [*memories], **rest} if rest.get("success"):
            yield from (_row(memory, memory["created_at"][:10]) for memory in memories)
        case {"memory": {}}:
            yield from _fields({**answer["memory"], "history": answer.get("history", [])})
        case _:
            yield from _fields(answer)
    if "next_offset" in answer:
        yield f"More of the text, of {answer['length']} characters: --offset {answer['next_offset']}"
    if "next_cursor" in answer:
        yield f"More: --cursor {answer['next_cursor']}"


def _hits(hits: list[dict[str, Any]], *, nothing_relevant: bool) -> Iterator[str]:
    if not hits:
        yield "Nothing was found."
    elif nothing_relevant:
        yield "Nothing relevant was found; nearest:"
    for rank, hit in enumerate(hits, start=1):
        yield _row(hit, f"{rank:3}  {hit['score']:.3f}  {hit['relevance']:6}")


def _row(memory: Mapping[str, Any], start: str) -> str:
    lead = f"{start}  {memory['memory_id']}  "
    columns = shutil.get_terminal_size((WIDTH, 0)).columns
    return lead + clipped(memory["content"], max(columns - len(lead), 20))


def _fields(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in values.items():
        match value:
            case True if name == "success":
                continue
            case {} | [] if not value:
                continue
            case {}:
                yield f"{indent}{name}:"
                yield from _fields(value, indent + "  ")
            case [{}, *_]:
                yield f"{indent}{name}:"
                for item in value:
                    first, *others = _fields(item)
                    yield f"{indent}  - {first}"
                    yield from (f"{indent}    {line}" for line in others)
            case _:
                yield f"{indent}{name}: {_scalar(value, indent)}"


def _scalar(value: Any, indent: str) -> str:
    match value:
        case str():
            return printable(value).replace("\n", f"\n{indent}  ")
        case [*items]:
            return ", ".join(_scalar(item, indent) for item in items)
        case bool() | None:
            return json.dumps(value)
        case _:
            return str(value)
