"""Notes of basic-memory: Markdown, whose lines may be observations (`- [category] text`) and relations."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from tmws_cli.transfer.blocks import read_lines
from tmws_cli.transfer.front import FrontMatter
from tmws_cli.transfer.markdown import Section, taken_apart
from tmws_core.errors import InvalidField

_MARK = "permalink"
_CATEGORY = r"(?!x\]|X\])([^\s\[\]()][^\[\]()\n]{0,63})"
"""What is no box of a list of tasks, and no text of a link."""

_LINE = re.compile(rf"[-*][ \t]+\[{_CATEGORY}\][ \t]+\S.*")
_OBSERVATION = re.compile(rf"\[{_CATEGORY}\] ")
_RELATION = re.compile(r"(?m)^[-*][ \t]++([^\[\]\n]++)(?<=[ \t])\[\[([^\[\]\n|]{1,500})(?:\|[^\[\]\n]*)?\]\]")

_BLANK = " \t"
_KIND_CHARACTERS = 64
"""The longest type of a relation; what is longer is a sentence that ends with a link."""


def is_note(values: Mapping[str, Any]) -> bool:
    """Tell by its front matter whether a page was written by basic-memory."""
    return isinstance(values.get(_MARK), str)


def with_own_below(front: FrontMatter, text: str) -> tuple[FrontMatter, str]:
    """Return the front matter of a page together with the one that the note had before, and the text below.

    Both stand there if basic-memory has put its own above that. Where they disagree, the upper one is right, and the
    lower one stays in the text, too.
    """
    try:
        below, rest = taken_apart(text.lstrip("\r\n"))
    except InvalidField:
        return front, text
    if not below.values:
        return front, text
    agree = all(front.values.get(name, value) == value for name, value in below.values.items())
    said = below.values.keys() - front.values.keys()
    both = FrontMatter(
        values={**front.values, **{name: value for name, value in below.values.items() if name in said}},
        written={**front.written, **{name: texts for name, texts in below.written.items() if name in said}},
        as_text=[*front.as_text, *below.as_text],
    )
    return both, rest if agree else text


def parts(section: Section) -> Iterator[Section]:
    """Yield the text of a section, if it has any beside observations, and each of these by itself."""
    others: list[str] = []
    observations: list[str] = []
    for each in read_lines(section.text):
        line = each.text.rstrip("\r\n")
        (observations if not each.is_code and _LINE.fullmatch(line) else others).append(line)
    rest = "\n".join(others).strip()
    if rest or not observations:
        yield attrs.evolve(section, text=rest)
    for line in observations:
        yield attrs.evolve(section, text=line[1:].strip())


def said(text: str) -> dict[str, Any]:
    """Return what the text of a part says for its metadata."""
    observation = _OBSERVATION.match(text)
    if observation is not None:
        return {"category": observation[1]}
    relations = [
        {"type": kind, "to": found[2].strip()}
        for found in _RELATION.finditer(text)
        if len(kind := found[1].rstrip(_BLANK)) <= _KIND_CHARACTERS
    ]
    return {"relations": relations} if relations else {}
