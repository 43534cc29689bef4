"""Vectors of many texts, of which some may be refused."""

from collections.abc import Sequence

from tmws_core.domain.embedding import CANARY, Vector
from tmws_core.domain.text import passage
from tmws_core.errors import EmbedderUnavailable, EmbeddingRefused
from tmws_core.ports.embedder import Embedder
from tmws_core.ports.storage import Unembedded

_Passage = tuple[int, str]
"""A document and what of it is embedded."""


async def vectors_of(embedder: Embedder, texts: Sequence[Unembedded]) -> dict[int, Vector]:
    """Return the vectors by document, without those of texts that the model cannot take.

    Texts that fail together are halved until the one at fault is alone, so that it holds up no other. Whether it is the
    text or the embedder that fails, the canary tells, whatever the error says.

    Raises:
        EmbedderUnavailable: the embedder is down.
    """
    vectors: dict[int, Vector] = {}
    if texts:
        await _embed(embedder, [(text.document, passage(text.content, text.occurred_at)) for text in texts], vectors)
    if texts and not vectors:
        # Is it the texts, or does it refuse everything?
        await embedder.passages([CANARY])
    return vectors


async def _embed(embedder: Embedder, passages: Sequence[_Passage], vectors: dict[int, Vector]) -> None:
    try:
        made = await embedder.passages([content for _, content in passages])
    except EmbeddingRefused:
        pass
    except EmbedderUnavailable:
        await embedder.passages([CANARY])
    else:
        vectors.update(zip((document for document, _ in passages), made, strict=True))
        return
    half = len(passages) // 2
    if half:
        await _embed(embedder, passages[:half], vectors)
        await _embed(embedder, passages[half:], vectors)
