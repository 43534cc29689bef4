"""Texts that stand for no value. An agent terminal starts with it, so nothing is imported."""

NOTHINGS = frozenset({"null", "none", "undefined"})
"""What programs write where they have no value: Python, JavaScript and JSON, as text."""


def says_nothing(text: str) -> bool:
    """Tell whether a text is blank or such a word."""
    return text.strip().lower() in {"", *NOTHINGS}
