"""What programs write for a terminal between the characters of a text: colours, titles and addresses of links."""

import re

_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x00-\x1f\x7f]*+(?:\x07|\x1b\\)|[()][0-9A-Z])")
"""Control sequences and operating system commands of ECMA-48, the latter within one line, and changes of the character
set, which programs write before they reset the colours."""


def without_sequences(text: str) -> str:
    """Return a text without them; an escape character that begins none of these stays."""
    return _SEQUENCE.sub("", text) if "\x1b" in text else text
