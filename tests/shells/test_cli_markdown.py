"""How pages are taken apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmws_cli.transfer.markdown import SECTION_BYTES, sections, split_front_matter, with_front_matter
from tmws_core.errors import InvalidField


def test_sections_carry_the_headings_above_them() -> None:
    page = "intro\n# A\none\n## B\ntwo\n### C ##\nthree\n#### D\nfour\n## E\nfive\n"
    found = [(section.headings, section.text) for section in sections(page)]
    assert found == [
        ((), "intro"),
        (("A",), "one"),
        (("A", "B"), "two"),
        (("A", "B", "C"), "three\n#### D\nfour"),
        (("A", "E"), "five"),
    ]


@pytest.mark.parametrize("fence", ["```", "~~~~", "```python"])
def test_headings_inside_code_blocks_are_code(fence: str) -> None:
    closing = fence.rstrip("python")
    text = f"{fence}\n# code\n{closing[:-1]}\n# still code\n{closing}"
    assert [section.headings for section in sections(f"{text}\n# Heading\ntext")] == [(), ("Heading",)]


def test_long_sections_are_cut_between_paragraphs() -> None:
    paragraph = "word " * 500
    found = list(sections("# Long\n\n" + "\n\n".join([paragraph.strip()] * 10)))
    assert len(found) == 4
    assert {section.headings for section in found} == {("Long",)}
    assert all(len(section.text.encode()) <= SECTION_BYTES for section in found)
    assert "\n\n".join(section.text for section in found) == "\n\n".join([paragraph.strip()] * 10)


def test_paragraph_without_end_is_cut_between_characters() -> None:
    text = "語" * 10_000
    found = [section.text for section in sections(text)]
    assert "".join(found) == text
    assert max(len(piece.encode()) for piece in found) <= SECTION_BYTES


def test_aliases_in_front_matter_are_refused() -> None:
    with pytest.raises(InvalidField, match="aliases"):
        split_front_matter("---\na: &x [1]\nb: [*x, *x]\n---\n")


def test_front_matter_times_become_rfc_3339() -> None:
    front, text = split_front_matter("---\r\nat: 2026-01-31 12:00:00\r\nday: 2026-01-31\r\n---\r\ntext")
    assert front == {"at": "2026-01-31T12:00:00Z", "day": "2026-01-31"}
    assert text == "text"


_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="".join(map(chr, [*range(9), *range(11, 32), 127])))
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_TEXT, _VALUES, max_size=4), _TEXT)
def test_front_matter_and_text_come_back_as_they_were(values: dict[str, object], text: str) -> None:
    front, rest = split_front_matter(with_front_matter(values, text))
    assert front == values
    assert rest == f"\n{text}\n"
