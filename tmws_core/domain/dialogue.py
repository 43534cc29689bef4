"""What the form of a memory says about whether it answers a question; small nudges on top of the fused score."""

import re
from itertools import islice

import attrs

from tmws_core.domain.text import STOP_WORDS

SPEAKER = 0.12
"""For a turn whose speaker the question names: "What did Ana paint?" is answered by "Ana: ..."."""

QUESTION = 0.06
"""Against a memory that ends in a question: it asks, and seldom answers."""

MOMENT = 0.12
"""For a memory with words of time, where the question asks for a time."""

NEGATION = 0.1
"""For a memory that says what is not, where the question asks for that: nearly the same words say the contrary."""

_SPEAKER = re.compile(r"([^\W\d_][\w.'-]*(?: [\w.'-]+){0,2}): ")

_ASKS_WHEN = re.compile(r"\s*when\b", re.IGNORECASE)

_MOMENT = re.compile(
    r"\b(?:yesterday|today|tonight|tomorrow|last|next|ago|this (?:week|month|year|morning|weekend)"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|may|june|july|august|september|october"
    r"|november|december|(?:19|20)\d\d)\b",
    re.IGNORECASE,
)

_NEGATION = re.compile(r"\b(?:not|never|no|nobody|nothing|neither|nor|without|cannot)\b|n['\u2019]t\b", re.IGNORECASE)

_WORD = re.compile(r"[^\W_]+")

NEAR, NEGATIONS, STEM = 80, 20, 5
"""Characters before and behind a negation in which it denies what the question names, how many negations are looked at,
and letters by which two words are the same one ("deploy", "deploys")."""


def speaker_of(content: str) -> str | None:
    """Return who says a turn that begins like "Ana: ", or None."""
    found = _SPEAKER.match(content)
    return found.group(1) if found else None


@attrs.frozen
class Question:
    """What a query asks for, read once and held against each candidate."""

    words: frozenset[str]
    asks_when: bool
    negated: bool = False

    @classmethod
    def of(cls, query: str) -> "Question":
        """Read a query."""
        words = frozenset(_WORD.findall(query.lower()))
        return cls(words, bool(_ASKS_WHEN.match(query)), bool(_NEGATION.search(query)))

    def nudge(self, content: str) -> float:
        """Return what to add to the score of a memory with this content."""
        speaker = speaker_of(content)
        total = SPEAKER if speaker and set(_WORD.findall(speaker.lower())) <= self.words else 0.0
        if content.rstrip().endswith(("?", "\N{FULLWIDTH QUESTION MARK}")):
            total -= QUESTION
        if self.asks_when and _MOMENT.search(content):
            total += MOMENT
        if self.negated and self._is_negated_in(content):
            total += NEGATION
        return total

    def _is_negated_in(self, content: str) -> bool:
        """Tell whether a text denies something that the question names."""
        telling = {word[:STEM] for word in self.words - STOP_WORDS}
        for found in islice(_NEGATION.finditer(content), NEGATIONS):
            around = content[max(found.start() - NEAR, 0) : found.end() + NEAR]
            if any(word[:STEM] in telling for word in _WORD.findall(around.lower())):
                return True
        return False
