"""Whether a hit answers the question at all: a score compares hits, and the best of nothing has a high one, too."""

import enum
import math

import attrs

from tmws_core.domain.embedding import Calibration
from tmws_core.domain.ranking import Ranked

LEAST, GROWTH, MANY = 0.4, 0.075, 200
"""How near a fair hit is at least: LEAST, and GROWTH for each time that the texts are e times as many, up to MANY. For
the more texts there are, the nearer is the nearest that has nothing to do with the question.

Nearness is that in meaning (1: as near as texts that answer a question are on average) and the share of the question's
rare words that the hit has, added up. So 1 % of the questions of LoCoMo and 2 % of a newcomer's are said to have no
relevant hit, and 9 of 10 about what is not there.
"""

STRONG = 1.4
"""How near a strong hit is: two thirds of those questions have one, and 1 in 500 about something else."""

WORDS, WORDS_ALONE = 1.0, 5.0
"""What the share of the words counts beside meaning, and alone: where there is no vector, or the model cannot read the
script of the question."""


class Relevance(enum.Enum):
    """How likely a hit has to do with what was asked for."""

    STRONG = "strong"
    FAIR = "fair"
    WEAK = "weak"


@attrs.frozen(kw_only=True)
class Scale:
    """What the figures of one search's hits mean; nothing in it comes from memories that the caller may not see.

    `familiarity` is how much of the question the model can read, `calibration` what the model's cosines mean, None if
    that is not known. `compared` texts are the nearest in meaning, which may be all; `beyond` is the similarity that
    others have at most, None where only those without a vector are not among them. The question may be `only` strings
    that are meant as they stand.
    """

    familiarity: float = 1.0
    calibration: Calibration | None = None
    compared: int = MANY
    beyond: float | None = None
    only: bool = False

    def relevance(self, hit: Ranked) -> Relevance:
        """Tell how likely a hit has to do with the question; without a calibration none is weak for its meaning."""
        similarity = self.beyond if hit.similarity is None else hit.similarity
        meaning = None if similarity is None or self.calibration is None else self.calibration.nearness(similarity)
        trust = 0.0 if meaning is None else self.familiarity**2
        near = trust * (meaning or 0.0) + (WORDS_ALONE + (WORDS - WORDS_ALONE) * trust) * (hit.lexical_score or 0.0)
        near += STRONG * (hit.exact or 0.0)
        if self.only and hit.exact == 0:
            return Relevance.WEAK
        if near >= STRONG:
            return Relevance.STRONG
        unknown = similarity is not None and self.calibration is None
        fair = LEAST + GROWTH * math.log(min(max(self.compared, 1), MANY))
        return Relevance.FAIR if near >= fair or unknown else Relevance.WEAK
