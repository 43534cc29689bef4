"""What can be wrong with Chroma, and the remedy."""

from collections.abc import Iterator
from contextlib import contextmanager

from tmws_adapters.quiet import silence
from tmws_core.errors import IndexUnavailable

PART = "chroma"

REBUILD = "Run `tmws index rebuild`"


class IndexDamaged(IndexUnavailable):
    """What Chroma keeps on this machine is lost or cannot be read; a reset clears it away."""


def damaged(reason: str) -> IndexDamaged:
    """Return the error for files that are gone or broken."""
    return IndexDamaged(part=PART, reason=reason, hint=REBUILD)


def unusable(reason: str) -> IndexUnavailable:
    """Return the error for contents that only a rebuild can set right."""
    return IndexUnavailable(part=PART, reason=reason, hint=REBUILD)


@contextmanager
def importing() -> Iterator[None]:
    """Let Chroma, and what it may import, be imported in silence; turn a failure into an IndexUnavailable."""
    silence()
    try:
        yield
    except ImportError as error:
        raise IndexUnavailable(
            part=PART,
            reason=f"its library cannot be imported ({error})",
            hint="Run `pip install --force-reinstall chromadb`",
        ) from error
