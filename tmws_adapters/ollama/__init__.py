"""Embeddings from an Ollama server."""

from tmws_adapters.ollama.embedder import open_ollama

__all__ = ["open_ollama"]
