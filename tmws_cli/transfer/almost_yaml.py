"""Front matter that is no YAML and means one thing only: its names, and their texts in quotation marks, as YAML."""

import json
import re
from collections import deque
from collections.abc import Iterator
from itertools import accumulate

import yaml

from tmws_core.domain.constraints import JSON_DEPTH

_NAMED = re.compile(r"([^\s#\"'\[\]{},?-][^\n]*?)(:(?:[ \t\r].*)?)")
"""Begins what is said of one name."""

_BELOW = re.compile(r"[ \t\-\]}]|\r?\Z")
"""Begins a line that goes on with it."""

_LINE = re.compile(r"( *(?:- +)?)(?:(\w[\w -]*+):(?= |$))? *(.*)")
_SAYS_WHAT_IT_IS = re.compile(r"[\w.+-]*|(?:[\[|>&!#]|- ).*|\{(?!\{).*|'(?:[^']|'')*'|\"(?:[^\"\\]|\\.)*\"")
"""Values of YAML that are left as they are: words, numbers, days, and all that a special character begins."""

_ODD = frozenset('[{|>&!-"')

_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}

DEPTH = 2 * JSON_DEPTH
"""Levels of nesting, of which metadata can have JSON_DEPTH; more are refused there, with a better reason. Deeper ones
are not looked into: the time that PyYAML takes for them grows with their square."""

_OF_LINES = re.compile(r"[|>][+\-\d]*")
"""Begins a text of several lines."""


def in_marks(text: str) -> str:
    """Return a text in quotation marks; to YAML, the two halves of a character that JSON escapes are none."""
    return json.dumps(text, ensure_ascii=False)


def names_in(source: str) -> Iterator[tuple[str, str]]:
    """Yield each name of front matter, and what is said of it, from the colon on.

    Raises:
        yaml.YAMLError: it has other lines.
    """
    name, said = "", ""
    for line in source.split("\n"):
        found = _NAMED.fullmatch(line)
        if found is not None:
            if name:
                yield name, said
            name, said = found[1], found[2]
        elif name and _BELOW.match(line):
            said += f"\n{line}"
        elif line.strip() and not line.startswith("#"):
            raise yaml.YAMLError(line)
    if name:
        yield name, said


def quoted(said: str) -> tuple[str, bool]:
    """Return what is said of a name, texts in quotation marks, and whether one begins as YAML that is no text does.

    Raises:
        yaml.YAMLError: a text has several lines.
    """
    lines: list[str] = []
    any_is_odd = False
    for line in f"k{said}".expandtabs().splitlines():
        indent, name, text = _LINE.fullmatch(line).groups()  # type: ignore[union-attr]  # it fits every line
        text = text.rstrip()
        if _OF_LINES.fullmatch(text) or (text and name is None and not indent.strip() and not text.startswith("#")):
            raise yaml.YAMLError(line)
        says_what_it_is = _SAYS_WHAT_IT_IS.fullmatch(text) is not None
        is_odd = says_what_it_is and _is_odd("-" if name is None else "k:", text)
        is_text = is_odd or not says_what_it_is
        any_is_odd |= is_odd
        lines.append(f"{indent}{'' if name is None else f'{name.rstrip()}: '}{in_marks(text) if is_text else text}")
    return "\n".join(lines)[1:], any_is_odd


def _is_odd(before: str, text: str) -> bool:
    """Tell whether a text begins as YAML that is no text does, and is neither that nor the first line of that."""
    if text[:1] not in _ODD or any(text.count(opening) != text.count(closing) for opening, closing in ("[]", "{}")):
        return False
    if max(accumulate(_STEPS.get(character, 0) for character in text)) > DEPTH:
        return False
    try:
        deque(yaml.parse(f"{before} {text}", Loader=yaml.SafeLoader), maxlen=0)
    except (yaml.scanner.ScannerError, yaml.parser.ParserError):
        return True
    return False
