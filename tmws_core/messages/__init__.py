"""Requests and answers: attrs classes that are the Python API, the wire format and the source of every schema."""
