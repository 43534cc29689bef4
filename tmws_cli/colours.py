"""Colours, on terminals only, and where the user has not asked for none (https://no-color.org)."""

import os
import sys
from typing import TextIO

_CODES = {"faint": "2", "tag": "36", "strong": "1;32", "fair": "33", "weak": "2", "error": "1;31"}
"""SGR parameters (ECMA-48) by what they stand for: the sixteen colours that every theme defines."""


def coloured(text: str, meaning: str, stream: TextIO | None = None) -> str:
    """Return a text in the colour of its meaning, if the stream, stdout by default, shows colours."""
    code = _CODES.get(meaning)
    return f"\x1b[{code}m{text}\x1b[0m" if text and code and _shows(sys.stdout if stream is None else stream) else text


def _shows(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
