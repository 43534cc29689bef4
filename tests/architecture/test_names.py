"""Names are domain words."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("tmws_core", "tmws_adapters", "tmws_mcp", "tmws_cli")

BANNED = re.compile(r"util|helper|manager|impl(?![a-z])|abstract|misc|common", re.IGNORECASE)
"""Words that say nothing of what a module or a class is for."""


def names() -> Iterator[str]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.stem
            tree = ast.parse(path.read_text(encoding="utf-8"))
            yield from (node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def test_modules_and_classes_are_named_for_what_they_are() -> None:
    found = list(names())
    assert found
    assert [name for name in found if BANNED.search(name)] == []
