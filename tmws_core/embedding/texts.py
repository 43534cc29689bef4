"""Vectors of many texts, of which some may be refused."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from tmws_core.domain.embedding import CANARY, Vector
from tmws_core.domain.text import passage
from tmws_core.embedding.refusals import Unproved
from tmws_core.errors import EmbedderUnavailable, EmbeddingRefused
from tmws_core.ports.embedder import Embedder
from tmws_core.ports.storage import Unembedded

PIECE = 16
"""Texts of one turn at the embedder: those of one inference, or of one request to Ollama."""

Key = TypeVar("Key")
"""What a text is known by: its document, or the id of its memory."""


async def vectors_of(embedder: Embedder, texts: Sequence[Unembedded]) -> dict[int, Vector]:
    """Return the vectors by document, without those of texts that the model cannot take; see `embed_apart`.

    Raises:
        EmbedderUnavailable: the embedder is down.
    """
    vectors: dict[int, Vector] = {}
    if texts:
        passages = {text.document: passage(text.content, text.occurred_at) for text in texts}
        await embed_apart(embedder, passages, vectors)
    if texts and not vectors:
        # Is it the texts, or does it refuse everything?
        await embedder.passages([CANARY])
    return vectors


async def embed_apart(embedder: Embedder, passages: Mapping[Key, str], vectors: dict[Key, Vector]) -> None:
    """Add the vectors of passages as they are made, without those that the model cannot take.

    Texts that fail together are halved until the one at fault is alone, so that it holds up no other. Whether it is the
    text or the embedder that fails, the canary tells, whatever the error says. Who has no time left keeps what was
    added before.

    Raises:
        EmbedderUnavailable: the embedder is down.
    """
    try:
        made = await _made(embedder, [*passages.values()])
    except Unproved:
        raise
    except EmbeddingRefused:
        pass
    except EmbedderUnavailable:
        await embedder.passages([CANARY])
    else:
        vectors.update(zip(passages, made, strict=True))
        return
    half = len(passages) // 2
    if half:
        keys = [*passages]
        for part in (keys[:half], keys[half:]):
            await embed_apart(embedder, {key: passages[key] for key in part}, vectors)


async def embed_in_turns(
    embedder: Embedder,
    turn: Callable[[], AbstractAsyncContextManager[None]],
    passages: Mapping[Key, str],
    vectors: dict[Key, Vector],
) -> None:
    """Embed as `embed_apart` does, PIECE passages at a turn, the short ones first: other calls come in between.

    Raises:
        EmbedderUnavailable: the embedder is down; what was made before is kept.
    """
    keys = sorted(passages, key=lambda key: len(passages[key]))
    for start in range(0, len(keys), PIECE):
        async with turn():
            await embed_apart(embedder, {key: passages[key] for key in keys[start : start + PIECE]}, vectors)


async def _made(embedder: Embedder, passages: Sequence[str]) -> list[Vector]:
    try:
        return await embedder.passages(passages)
    except Unproved:
        # It was not asked for the passages yet, and may have failed once only.
        return await embedder.passages(passages)
