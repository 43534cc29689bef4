"""What a note says within its text: `#tags`, and `[[links]]` to other notes."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import orjson

from tmws_cli.transfer.blocks import read_lines
from tmws_cli.transfer.labels import distinct_tags
from tmws_core.domain.memory import METADATA_BYTES, TAGS

LINKS = "links"
"""The name in the metadata of the notes that a section links to, unless its front matter uses it otherwise."""

_CODE = re.compile(r"`[^`\n]*+`")
_TAG = re.compile(r"(?:^|(?<=[\s(,;>|]))#([\w/-]+)", re.MULTILINE)
_LINK = re.compile(r"\[\[([^\[\]\n]{1,500})\]\]")


def with_inline(fields: dict[str, Any], text: str) -> dict[str, Any]:
    """Return the fields of a section with the tags and links that stand in its text.

    Tags that are too many are left where they stand; so are links where the metadata has no room for them.
    """
    plain = _CODE.sub(" ", "".join(line.text for line in read_lines(text) if not line.is_code))
    tags = [*fields.get("tags", ()), *distinct_tags(_tags(plain))[0]]
    links = list(dict.fromkeys(_links(plain)))
    metadata = fields.get("metadata", {})
    linked = {**metadata, LINKS: links}
    found: dict[str, Any] = {}
    if tags:
        found["tags"] = list(dict.fromkeys(tags))[:TAGS]
    if links and LINKS not in metadata and len(orjson.dumps(linked)) <= METADATA_BYTES:
        found["metadata"] = linked
    return fields | found


def _tags(plain: str) -> Iterator[str]:
    """Yield what Obsidian and its like call a tag: with a character at least that is no digit."""
    for found in _TAG.finditer(plain):
        word = found[1].strip("/-")
        if any(character.isalpha() for character in word):
            yield word


def _links(plain: str) -> Iterator[str]:
    """Yield the names of notes, without the heading there and the words that are shown instead."""
    for found in _LINK.finditer(plain):
        name = re.split(r"[|#^]", found[1], maxsplit=1)[0].rstrip("\\").strip()
        if name:
            yield unicodedata.normalize("NFC", name)
