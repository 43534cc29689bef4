"""What the cosines of a model mean, found out by a few questions and texts."""

from statistics import fmean

from tmws_core.domain.embedding import Calibration, cosine
from tmws_core.ports.embedder import Embedder

PAIRS = (
    ("When does the dentist open?", "The dental practice opens at eight in the morning."),
    ("Which database does the shop use?", "Orders of the shop are stored in PostgreSQL."),
    ("How do I bake bread?", "Mix flour, water, salt and yeast, and leave the dough in the oven for forty minutes."),
    ("Who won the chess tournament?", "Maria beat all the others and took first place at chess."),
    ("Where did they go on holiday?", "In summer the family spent two weeks by the sea in Portugal."),
    ("Why did the build fail?", "The compiler stopped because a header file was missing."),
    ("What is the dog called?", "Their puppy's name is Rufus."),
    ("How much is the rent?", "The flat costs nine hundred euros a month."),
)
"""Questions and what answers each: short ones about different things, in English, which every model knows some of. With
the bundled model their means are 0.55 and 0.05, the standard errors 0.04 and 0.01."""


async def calibrated(embedder: Embedder) -> Calibration:
    """Ask an embedder for the vectors of PAIRS and compare them.

    Raises:
        EmbedderUnavailable: it cannot answer now.
    """
    questions = [await embedder.query(question) for question, _ in PAIRS]
    answers = await embedder.passages([answer for _, answer in PAIRS])
    cosines = [[cosine(question, answer) for answer in answers] for question in questions]
    related = [row[place] for place, row in enumerate(cosines)]
    unrelated = [each for place, row in enumerate(cosines) for column, each in enumerate(row) if column != place]
    return Calibration(unrelated=fmean(unrelated), related=fmean(related))
