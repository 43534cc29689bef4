"""When two texts say the same: the same words in the same order, whatever their case, white space and punctuation.

What could change the meaning counts: order, negation, numbers with their signs and decimal points, units, marks that
belong to a name (`C++`, `C#`, `.NET`, `A*`), question marks, and every symbol that is not known to part words only.
Where that leaves a doubt, two texts are two: to show a repetition costs a place, to hide a fact costs the fact.
"""

import re
import unicodedata

from tmws_core.domain.text import is_stream_safe

_HYPHENS = "\u2010\u2011\u2012\u2013\u2212\u301c\ufe58\ufe63\uff0d"
"""What is written for a hyphen or a minus; the long dashes only part sentences."""

_INVISIBLE = (
    "\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)

_FORMS: dict[int, str | None] = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    **{ord(character): "-" for character in _HYPHENS},
    **{ord(character): None for character in _INVISIBLE},
    **{ord(character): "'" for character in "\u2018\u2019\u02b9\u02bb\u02bc\u02bd\ua78b\ua78c"},
    **{ord(character): '"' for character in "\u201c\u201d"},
    0x061F: "?",
}
"""Other forms of one character, among them the full-width ones of Chinese and Japanese."""

_PARTING = (
    r"""!"'()*,\-.:;\[\]_`{}#\u00a1\u00ab\u00b7\u00bb\u00bf\u2014\u2015\u2018-\u201f\u2022\u2026\u2027\u2039\u203a"""
    r"\u3001-\u3003\u3008-\u3011\u3014-\u301b\u301d-\u301f\u30fb\uff5f-\uff65"
    r"\u055d\u0589\u060c\u061b\u06d4\u0964\u0965\u0e2f\u0e5a\u0e5b\u104a\u104b\u17d4\u17d5"
)
"""Punctuation that does no more than part words, unless `_TELLING` says otherwise of its place."""

_LETTER = r"[^\W_]"

_TELLING = re.compile(
    rf"""
    {_LETTER}+ (?: (?<=\d) [^\w\s]{{1,3}} (?=\d) {_LETTER}+ )*  # words; numbers with what stands inside: 1.5, 02:15
    | (?<!{_LETTER}) - (?={_LETTER}|[.$\u00a3\u00a5\u20ac])     # the sign of -5 and -$5
    | (?<=[\u0e00-\U0003ffff]) - (?=[\d.])                      # the same behind scripts that write no spaces
    | (?<={_LETTER}) - (?![\w-])                                # blood of group O-
    | (?<![\w.]) \. (?={_LETTER})                               # .5 and .NET
    | (?<!{_LETTER}) ! (?={_LETTER}) | ! (?==)                  # !enabled and !=
    | (?<={_LETTER}) \# | \# (?={_LETTER})                      # C# and #5
    | (?<={_LETTER}) \* (?![\w*])                               # the mark A*
    | (?<=\d) ['"] (?!{_LETTER})                                # feet and inches
    | [^\w\s{_PARTING}]
    """,
    re.VERBOSE,
)

_CASED_UNIT = re.compile(
    rf"(?<=\d)\s?(?:[mM](?:[WVAJNgLls\u03a9]|Hz|Pa|Wh|[bB](?:ps)?|bit)?|[kKGTP]i?[bB](?:ps)?|[bB])(?!{_LETTER})"
)
"""Units behind a number that are others in capitals: mW and MW, Mb and MB, m for metres and M for millions."""

_CAPITAL = re.compile(r"[A-Z]")


def said(text: str) -> str:
    """Return what a text says: texts that say the same have the same."""
    if not text.isascii():
        text = text.translate(_FORMS)
        if is_stream_safe(text):  # of endless marks in another order two texts are two
            text = unicodedata.normalize("NFC", text)
    # A capital that counts gets a mark of its own before it is folded like all others.
    text = _CASED_UNIT.sub(lambda unit: _CAPITAL.sub("\u21e7\\g<0>", unit.group()), text)
    return " ".join(_TELLING.findall(text.lower()))
