"""What a page shows of an output, held against what was printed."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

_VARYING = {
    "id": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "time": r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?)?",
    "decimal": r"\d+\.\d+",
    "space": r"[ \t]+",
    "anything": "…",
}
_MATCHED = {**_VARYING, "anything": ".*"}
_PARTS = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _VARYING.items()))


def is_shown(shown: str, printed: str) -> bool:
    """Tell whether an output is what the page shows of it.

    Ids, times, decimal fractions and the width of gaps may be others, `…` stands for any text, and a line of `…` for
    any lines. All else has to be the same, line after line; before and after it there may be more. An object of JSON is
    held against each that was printed: it has to have the same keys and values, and again others where they vary.
    """
    if shown.startswith("{"):
        expected = json.loads(shown)
        return any(_alike(expected, found) for found in _objects(printed))
    lines = [line.rstrip() for line in shown.strip("\n").split("\n")]
    pattern = _pattern(lines[0])
    for before, after in pairwise(lines):
        pattern += "" if before == "…" else r"[ \t]*\n"
        pattern += r"(?:.*\n)*?" if after == "…" else _pattern(after)
    return re.search(rf"^{pattern}[ \t]*$", printed, re.MULTILINE) is not None


def _pattern(line: str) -> str:
    found, end = "", 0
    for part in _PARTS.finditer(line):
        found += re.escape(line[end : part.start()]) + _MATCHED[part.lastgroup or "anything"]
        end = part.end()
    return found + re.escape(line[end:])


def _objects(printed: str) -> Iterator[Any]:
    decoder, end = json.JSONDecoder(), 0
    while (start := printed.find("{", end)) >= 0:
        try:
            found, end = decoder.raw_decode(printed, start)
        except ValueError:
            end = start + 1
        else:
            yield found


def _alike(expected: Any, found: Any) -> bool:
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(_alike(expected[key], found[key]) for key in expected)
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(_alike, expected, found))
    if isinstance(expected, float):
        return isinstance(found, int | float)
    if isinstance(expected, str) and isinstance(found, str):
        return re.fullmatch(_pattern(expected), found, re.DOTALL) is not None
    return bool(expected == found)


def split(output: str, marks: Sequence[str]) -> dict[str, str]:
    """Return what was printed after each mark, which stand in lines of their own in this order."""
    found = {}
    for mark, following in pairwise([*marks, ""]):
        rest = output.split(f"{mark}\n", 1)[-1]
        found[mark] = rest.split(f"{following}\n", 1)[0] if following else rest
    return found
