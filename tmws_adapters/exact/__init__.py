"""Exact vector search in memory."""

from tmws_adapters.exact.index import ExactIndex, open_exact

__all__ = ["ExactIndex", "open_exact"]
