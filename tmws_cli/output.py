"""Answers for people: what was asked for, clipped to the terminal, or the answer of the wire as JSON."""

import json
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from tmws_cli.colours import coloured
from tmws_cli.times import shown_time
from tmws_core.domain.narrowing import CLOSEST, closest_of

WIDTH = 120
"""Columns of a preview where stdout is no terminal."""

BEST_LINES = 5
"""Lines of the best hit's text on a terminal, at most."""

_INDENT = 5 * " "
"""Stands before the lines below a hit."""

TIMES = frozenset({"newest", "oldest", "timestamp", "valid_from", "valid_to", "waiting_since"})
"""The fields of answers that are times, beside those that end with `_at`; JSON does not tell them from texts."""

_LEAST = 20
"""Columns of a text that are shown however narrow the terminal is."""

_WIDE = "WF"
"""The East Asian widths that take two columns (Unicode Annex 11)."""


def show(
    answer: Mapping[str, Any], *, as_json: bool, about: str = "", details: bool = False, none: str | None = None
) -> None:
    """Print the answer of an operation; of long hits, what is around a word of the query that they are `about`.

    With `details` the fields of each memory are shown one a line. `none` is what is said instead where a list or a
    search has found nothing.
    """
    if as_json:
        print_json(answer)
        return
    for line in [none] if none and is_empty(answer) else _lines(answer, about, details=details):
        print(line)
    for reason in answer.get("degraded", ()):
        print(f"warning: {reason}", file=sys.stderr)


def is_empty(answer: Mapping[str, Any]) -> bool:
    """Tell whether a list or a search of memories has found nothing."""
    return bool(answer.get("results", answer.get("memories")) == [])


def print_json(facts: Mapping[str, Any]) -> None:
    """Print one line of JSON."""
    print(json.dumps(facts, ensure_ascii=False))


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with what it counts: `1 memory`, `2 memories`; the plural of most words is `one` with an s."""
    return f"{number} {one if number == 1 else many or one + 's'}"


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


def _lines(answer: Mapping[str, Any], about: str, *, details: bool) -> Iterator[str]:
    match answer:
        case {"results": [*hits], "search_source": _}:
            yield from _hits(hits, about, nothing_relevant=answer["nothing_relevant"], details=details)
        case {"memories": [*memories], **rest} if rest.get("success"):
            for memory in memories:
                start = shown_time(memory["created_at"], seconds=False)
                yield from _detailed(memory, start) if details else (_row(memory, start),)
            if not memories:
                yield "There are no memories."
        case {"memory": {}}:
            yield from _fields({**answer["memory"], "history": answer.get("history", [])})
        case _:
            lines = list(_fields(answer))
            yield from lines or (f"There are no {name}." for name, value in answer.items() if value == [])
    if "next_offset" in answer:
        yield f"More of the text, of {counted(answer['length'], 'character')}: --offset {answer['next_offset']}"
    if "next_cursor" in answer:
        yield f"More: --cursor {answer['next_cursor']}"


def _hits(hits: list[dict[str, Any]], about: str, *, nothing_relevant: bool, details: bool) -> Iterator[str]:
    if not hits:
        yield "Nothing was found."
    elif nothing_relevant:
        yield closest_of(len(hits), " (--json has all)")
    for rank, hit in enumerate(hits[:CLOSEST] if nothing_relevant else hits, start=1):
        plain = f"{hit['relevance']:6}"
        relevance = coloured(plain, hit["relevance"])
        # A score compares the hits of one answer: of weak ones the best has a high one, too.
        score = "" if nothing_relevant else f"{hit['score']:.3f}  "
        start, hidden = f"{rank:3}  {score}{relevance}", len(relevance) - len(plain)
        if details:
            yield from _detailed(hit, start)
        elif rank == 1 and sys.stdout.isatty():
            yield from _best(hit, start, about, hidden=hidden)
        else:
            yield _row(hit, start, about, hidden=hidden)
        if "explanation" in hit:
            yield f"{_INDENT}{_why(hit)}"


def _why(hit: Mapping[str, Any]) -> str:
    """Say how a hit came to its place."""
    why = hit["explanation"]
    parts = []
    if why.get("lexical_rank") is not None:
        parts.append(f"by words number {why['lexical_rank']} (score {why['lexical_score']:.2f})")
    if why.get("semantic_rank") is not None:
        parts.append(f"by meaning number {why['semantic_rank']} (similarity {why['similarity']:.2f})")
    if why.get("nudge"):
        parts.append(f"{why['nudge']:+.3f} for form, time and importance")
    return "; ".join([*parts, f"seen as {hit['allowed_by']}"])


def _detailed(memory: Mapping[str, Any], start: str) -> Iterator[str]:
    """Yield a memory with all of its fields, one a line."""
    yield start
    yield from _fields({name: value for name, value in memory.items() if name != "explanation"}, _INDENT)


def _best(hit: Mapping[str, Any], start: str, about: str, *, hidden: int) -> Iterator[str]:
    """Yield a hit on one line, or, where its text has no room there, with the text wrapped below."""
    from textwrap import wrap  # noqa: PLC0415 - only a search on a terminal needs it

    row = _row(hit, start, about, hidden=hidden)
    line = printable(" ".join(hit["content"].split()))
    if line in row:
        yield row
        return
    yield _row({**hit, "content": ""}, start, hidden=hidden)
    wide = any(unicodedata.east_asian_width(character) in _WIDE for character in line)
    width = max(_columns() - len(_INDENT), _LEAST) // (2 if wide else 1)
    text = _from_match(line, about, width * BEST_LINES)
    yield from (f"{_INDENT}{each}" for each in wrap(text, width, max_lines=BEST_LINES, placeholder="…"))


def _columns() -> int:
    """Return the columns of a line: of COLUMNS or the terminal, and without both as many as there are characters."""
    return shutil.get_terminal_size((sys.maxsize, 0)).columns


def _row(memory: Mapping[str, Any], start: str, about: str = "", *, hidden: int = 0) -> str:
    """Return a memory on one line, with a word that it is `about`; `hidden` characters of its start take no column."""
    tags = [printable(f"  #{tag}") for tag in memory.get("tags", ())]
    owner = f"  in {memory['namespace']}" if "namespace" in memory else ""
    owner += f"  @{memory['agent_id']}" if "agent_id" in memory else ""
    lead = len(start) - hidden + len(memory["memory_id"]) + 4
    room = max(_columns() - lead - len(owner) - len("".join(tags)), _LEAST)
    text = clipped(_from_match(" ".join(memory["content"].split()), about, room), room)
    shown = _in_lines(tags, lead + _width(text) + len(owner))
    return f"{start}  {coloured(memory['memory_id'], 'faint')}  {text}{owner}{coloured(shown, 'tag')}"


def _in_lines(words: list[str], taken: int) -> str:
    """Return words that follow so many columns, each within a line of the terminal; one that is longer begins one."""
    columns, shown = _columns(), ""
    for word in words:
        if taken % columns + len(word) > columns:
            shown, taken = f"{shown}\n{_INDENT}", len(_INDENT)
            word = word.lstrip()  # noqa: PLW2901 - the indent stands for the blanks
        shown, taken = f"{shown}{word}", taken + len(word)
    return shown


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in _WIDE else 1 for character in text)


def _from_match(line: str, about: str, columns: int) -> str:
    """Return a line from a little before the longest word that it is about, if that lies behind the columns."""
    lower = line.lower()
    places = (lower.find(word) for word in sorted(about.lower().split(), key=len, reverse=True))
    place = next((place for place in places if place >= 0), 0)
    if place < columns - _LEAST // 2:
        return line
    start = line.rfind(" ", 0, place - columns // 4) + 1
    return f"…{line[start:]}"


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
            case str() if name.endswith("_at") or name in TIMES:
                yield f"{indent}{name}: {shown_time(value)}"
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
