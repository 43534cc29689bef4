"""The id of a request that cannot be read otherwise, so that whoever waits for its answer gets one."""

import json
import re

from tmws_core.quoted import behind_text

BOM = b"\xef\xbb\xbf"
"""What some programs begin a text with, and so their first line; it is no part of it."""

ID = 1024
"""Characters of the id of a request: it comes back in the answer and in refusals; clients use a number or a UUID."""

_PART = re.compile(rb'["\[\]{}]')
"""Where a text, a list or an object begins, or one of these ends."""

_VALUE = re.compile(rb'\s{0,99}:\s{0,99}("[^"]{0,9999}"|-?\d{1,19}(?:\.0{1,19})?(?=\s{0,99}[,}]))')

_AT_END = re.compile(
    rb'[,{]\s{0,99}"id"\s{0,99}:\s{0,99}("[^"]{0,9999}"|-?\d{1,19}(?:\.0{1,19})?)(?:,"jsonrpc":"2.0")?\s{0,99}}\s{0,99}$'
)
"""Where clients name it that do so last, as the TypeScript SDK does."""

_PARTS = 100_000
"""How many texts and brackets are looked through: 50 ms (measured); clients write the id first, or behind the rest."""


def as_id(value: object) -> str | int | None:
    """Return the id of a request that a JSON value is, or None: the parser of servers knows integers of 64 bits.

    1.0 is 1, to JSON and to who writes it so, having but one kind of number.
    """
    match value:
        case str():
            return value if len(value) <= ID else None
        case float() if value.is_integer():
            return as_id(int(value))
        case int() if not isinstance(value, bool):
            return value if -(2**63) <= value < 2**64 else None
    return None


def counted_as(request_id: object) -> str | int | None:
    """Return what an id counts as, or None for what is no id: "7" and 7 are one, as they are for the SDK."""
    known = as_id(request_id)
    try:
        return known if known is None else int(known)
    except ValueError:
        return known


def id_in(line: bytes) -> str | int | None:
    """Return the id that a line names which is no valid JSON, or None; the rest of it may be whatever it is."""
    depth = place = 0
    for _ in range(_PARTS):
        part = _PART.search(line, place)
        if part is None:
            break
        place = part.end()
        if part[0] == b'"':
            place = behind_text(line, place)
            if depth == 1 and line[part.start() : place] == b'"id"' and (named := _VALUE.match(line, place)):
                return _read(named[1])
        else:
            depth += 1 if part[0] in b"[{" else -1
    return None


def id_at_end(part: bytes) -> str | int | None:
    """Return the id that the last thing in a JSON object is, given how the object ends, or None."""
    named = _AT_END.search(part)
    return _read(named[1]) if named else None


def _read(written: bytes) -> str | int | None:
    try:
        value = json.loads(written)
        str(value).encode()  # fails on half a character
    except ValueError:
        return None
    return as_id(value)
