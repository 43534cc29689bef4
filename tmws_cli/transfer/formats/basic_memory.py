"""Notes of basic-memory: Markdown, whose lines may be observations (`- [category] text`) and relations."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from tmws_cli.transfer.markdown import Section

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


def parts(section: Section) -> Iterator[Section]:
    """Yield the text of a section, if it has any beside observations, and each of these by itself."""
    others: list[str] = []
    observations: list[str] = []
    for line in section.text.splitlines():
        (observations if _LINE.fullmatch(line) else others).append(line)
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
