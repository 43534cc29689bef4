"""Which model an embedder is, proved by a vector."""

import attrs

from tmws_core.domain.embedding import CANARY, SAME_WEIGHTS, Canary, EmbeddingModel, KnownModel, cosine
from tmws_core.ports.embedder import Embedder


@attrs.frozen(kw_only=True)
class Identity:
    """An embedder's model, as it says, and what it makes of the canary; `epoch` is that of the embedder before this."""

    model: EmbeddingModel
    canary: Canary
    epoch: int | None


async def identify(embedder: Embedder) -> Identity:
    """Ask an embedder for its model and for the vector of the canary.

    Raises:
        EmbedderUnavailable: it cannot answer now.
    """
    model = await embedder.model()
    # Not before: to ask for the model may have taken a new connection, over which the canary is made as well.
    epoch = embedder.epoch
    (vector,) = await embedder.passages([CANARY])
    return Identity(model=model, canary=Canary(text=CANARY, vector=vector), epoch=epoch)


async def fits(embedder: Embedder, identity: Identity, known: KnownModel) -> bool:
    """Tell whether an embedder, which is `identity`, makes the vectors of a model that a store knows.

    Raises:
        EmbedderUnavailable: as above; only where the store has the vector of another canary.
    """
    if not same_name(known.model, identity.model):
        return False
    if known.canary is None:
        return True
    vector = identity.canary.vector
    if known.canary.text != identity.canary.text:
        (vector,) = await embedder.passages([known.canary.text])
    return cosine(vector, known.canary.vector) >= SAME_WEIGHTS


def same_name(stored: EmbeddingModel, model: EmbeddingModel) -> bool:
    """Tell whether two models say the same of themselves; digests count only where both are known."""
    return (
        stored.name == model.name
        and stored.dimension == model.dimension
        and (not stored.digest or not model.digest or stored.digest == model.digest)
    )
