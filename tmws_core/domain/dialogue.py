"""What the form of a memory says about whether it answers a question; small nudges on top of the fused score."""

import re

import attrs

SPEAKER = 0.12
"""For a turn whose speaker the question names: "What did Ana paint?" is answered by "Ana: ..."."""

QUESTION = 0.06
"""Against a memory that ends in a question: it asks, and seldom answers."""

MOMENT = 0.12
"""For a memory with words of time, where the question asks for a time."""

_SPEAKER = re.compile(r"([^\W\d_][\w.'-]*(?: [\w.'-]+){0,2}): ")

_ASKS_WHEN = re.compile(r"\s*when\b", re.IGNORECASE)

_MOMENT = re.compile(
    r"\b(?:yesterday|today|tonight|tomorrow|last|next|ago|this (?:week|month|year|morning|weekend)"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|may|june|july|august|september|october"
    r"|november|december|(?:19|20)\d\d)\b",
    re.IGNORECASE,
)

_WORD = re.compile(r"[^\W_]+")


def speaker_of(content: str) -> str | None:
    """Return who says a turn that begins like "Ana: ", or None."""
    found = _SPEAKER.match(content)
    return found.group(1) if found else None


@attrs.frozen
class Question:
    """What a query asks for, read once and held against each candidate."""

    words: frozenset[str]
    asks_when: bool

    @classmethod
    def of(cls, query: str) -> "Question":
        """Read a query."""
        return cls(frozenset(_WORD.findall(query.lower())), bool(_ASKS_WHEN.match(query)))

    def nudge(self, content: str) -> float:
        """Return what to add to the score of a memory with this content."""
        speaker = speaker_of(content)
        total = SPEAKER if speaker and set(_WORD.findall(speaker.lower())) <= self.words else 0.0
        if content.rstrip().endswith(("?", "\N{FULLWIDTH QUESTION MARK}")):
            total -= QUESTION
        if self.asks_when and _MOMENT.search(content):
            total += MOMENT
        return total
