"""What services tell each other after a change is committed."""

import attrs


@attrs.frozen(kw_only=True)
class MemoriesChanged:
    """Memories were created, changed or deleted; `unembedded` of them wait for a vector."""

    memory_ids: tuple[str, ...]
    unembedded: int = 0
