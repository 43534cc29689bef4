"""Files stay small enough to be read in one go."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

LINES = 400
"""The longest Python file; one that needs more has two responsibilities."""


def python_files() -> Iterator[Path]:
    for package in ("tmws_core", "tmws_adapters", "tmws_mcp", "tmws_cli", "tests", "docs"):
        yield from (path for path in (ROOT / package).rglob("*.py") if "node_modules" not in path.parts)


def test_no_python_file_is_too_long() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert lengths
    assert {str(path): lines for path, lines in lengths.items() if lines > LINES} == {}
