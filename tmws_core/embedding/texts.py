"""Vectors of many texts, of which some may be refused."""

from collections.abc import Sequence
from contextlib import suppress

from tmws_core.domain.embedding import CANARY, Vector
from tmws_core.domain.text import passage
from tmws_core.errors import EmbedderUnavailable, EmbeddingRefused
from tmws_core.ports.embedder import Embedder
from tmws_core.ports.storage import Unembedded


async def vectors_of(embedder: Embedder, texts: Sequence[Unembedded]) -> dict[int, Vector]:
    """Return the vectors by document, without those of texts that the model cannot take.

    Texts that fail together are tried one by one, so that one which the model refuses holds up no other.

    Raises:
        EmbedderUnavailable: the embedder is down.
    """
    passages = [passage(text.content, text.occurred_at) for text in texts]
    try:
        vectors = await embedder.passages(passages)
    except EmbedderUnavailable:
        return await _singly(embedder, texts, passages)
    return {text.document: vector for text, vector in zip(texts, vectors, strict=True)}


async def _singly(embedder: Embedder, texts: Sequence[Unembedded], passages: Sequence[str]) -> dict[int, Vector]:
    vectors = {}
    for text, content in zip(texts, passages, strict=True):
        with suppress(EmbeddingRefused):
            (vectors[text.document],) = await embedder.passages([content])
    if not vectors:
        # Is it the texts, or does it refuse everything?
        await embedder.passages([CANARY])
    return vectors
