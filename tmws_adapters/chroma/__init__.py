"""Approximate vector search with Chroma, in this process or on a server."""

from tmws_adapters.chroma.index import open_chroma
from tmws_adapters.chroma.parameters import HnswParameters

__all__ = ["HnswParameters", "open_chroma"]
