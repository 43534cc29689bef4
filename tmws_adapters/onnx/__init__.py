"""Embeddings on this machine: sentence models in ONNX form."""

from tmws_adapters.onnx.embedder import open_onnx

__all__ = ["open_onnx"]
