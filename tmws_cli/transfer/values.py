"""A JSON object of a file, ours or another program's, as memories."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from tmws_cli.transfer.formats import other
from tmws_cli.transfer.formats.entries import Entry, Turns, cut
from tmws_cli.transfer.formats.known import format_of
from tmws_cli.transfer.records import (
    HISTORY_OF,
    NO_TEXT,
    OWN_NAMES,
    Item,
    Refusal,
    Skip,
    contained,
    continuation_of,
    record_of,
)
from tmws_core.doubles import faithful

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""An escaped character of JSON; the group is half of one that the other half does not follow."""


def items_in(
    place: str, raw: bytes, *, ignore_unknown: bool, in_lines: bool, file: str | None, turns: Turns | None = None
) -> Iterator[Item]:
    """Yield what JSON says; `in_lines`, which is how we write it, what has no mark of another program is ours.

    It is a line of a session if there are `turns`. `file` as in `Entry.items`. Halves of characters, which programs
    that cut texts leave, become U+FFFD, but in ours.

    Raises:
        InvalidField: it says something that no memory can have.
        UnicodeDecodeError: it is no UTF-8.
    """
    try:
        values, halved = _parsed(raw)
    except orjson.JSONDecodeError as error:
        raw.decode()
        yield Refusal(place=place, reason=f"is no JSON: {error}")
        return
    if not isinstance(values, dict):
        yield Refusal(place=place, reason="is no JSON object")
    elif (entries := turns.entries(values) if turns else _entries(values, in_lines=in_lines)) is not None:
        yield from _foreign(place, entries, file)
    elif halved:
        yield Refusal(place=place, reason=halved)
    elif HISTORY_OF in values:
        yield continuation_of(place, values)
    else:
        yield from _ours(place, values, ignore_unknown=ignore_unknown)


def _parsed(raw: bytes) -> tuple[Any, str]:
    """Return what JSON says, and why it is none as it stands, if half a character is all that is wrong with it.

    Raises:
        orjson.JSONDecodeError: something else is.
    """
    try:
        return faithful(raw, orjson.loads(raw)), ""
    except orjson.JSONDecodeError as error:
        whole = _ESCAPE.sub(lambda found: b"\\ufffd" if found[1] else found[0], raw)
        return faithful(whole, orjson.loads(whole)), f"is no JSON: {error}"


def _entries(values: Mapping[str, Any], *, in_lines: bool) -> Iterator[Entry] | None:
    """Return what another program says, or None."""
    if HISTORY_OF in values:
        return None
    found = format_of(frozenset(values))
    if found is not None:
        return found.entries(values)
    return other.entries(values) if "content" in values and not in_lines and not values.keys() <= OWN_NAMES else None


def _foreign(place: str, entries: Iterator[Entry], file: str | None) -> Iterator[Item]:
    number = 0
    for number, entry in enumerate(entries, 1):
        spot = place if number == 1 else f"{place}, part {number}"
        yield from contained(spot, entry.items(spot, file))
    if not number:
        yield Skip(place=place, reason=NO_TEXT)


def _ours(place: str, values: Mapping[str, Any], *, ignore_unknown: bool) -> Iterator[Item]:
    """Yield one memory, or several if its text is too long, which none of our own exports is."""
    content, key = values.get("content"), values.get("idempotency_key")
    texts = cut(content) if isinstance(content, str) else []
    if not texts[1:]:
        yield record_of(place, values, ignore_unknown=ignore_unknown)
        return
    for number, text in enumerate(texts):
        keyed = {} if key is None else {"idempotency_key": f"{key}/{number}"}
        yield record_of(place, {**values, "content": text, **keyed}, ignore_unknown=ignore_unknown)
