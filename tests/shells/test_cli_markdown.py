"""How pages are taken apart."""

import pytest
import yaml
from hypothesis import example, given
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


@pytest.mark.parametrize(
    "literal",
    [
        "```\n# code\n``\n# still code\n```",
        "~~~~ `x`\n# code\n~~~\n# still code\n~~~~",
        "```python\n# code\n``` x\n# still code\n```` ",
        "- Run:\n- ```sh\n  # code\n  ```",
        "10. ```sh\n    # code\n    ```",
        "- ```sh\n  # open until the list ends",
        "```pip install harbour```",
        "- An item\n\n  # of a list\n\n  as\n  ---",
        "<!--\n# A draft\n\nTitle\n===\n-->",
        "A paragraph\n<!-- goes on\n# to\n-->",
        "<!-- one line -->\nof `<!--`",
        "<!--\nstays open, and the next heading is one",
        "<PRE class=x>\n# shell\n\n# comment\n</pre>",
        "<prelude>",
        "The pump\u2028# seven\x85# stays\x1c# open",
        "Text.\n\n\n---\n\nBehind a rule.",
        "***\nBehind\n---",
        "[a]: https://example.org\n---",
        "Several lines\nabove a rule\n---\nof text",
    ],
)
def test_what_is_no_heading_is_text_of_its_section(literal: str) -> None:
    for ends in ("\n", "\r\n"):
        text = literal.replace("\n", ends)
        found = [(section.headings, section.text) for section in sections(f"# A{ends}{text}{ends}# B{ends}text")]
        assert found == [(("A",), text.strip()), (("B",), "text")]


def test_headings_are_what_commonmark_says() -> None:
    page = "## C# #\rone\n- item\n\nTwo\nlines\n===\n<!-- x -->\n`call()`\n---\n- x\n\n  y\n# \\#\n  ## F ###\n"
    assert [(section.headings, section.text, section.line) for section in sections(page)] == [
        (("C#",), "one\n- item", 1),
        (("Two lines",), "<!-- x -->", 5),
        (("Two lines", "`call()`"), "- x\n\n  y", 9),
        (("\\#", "F"), "", 15),
    ]


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


def test_front_matter_may_have_line_ends_of_windows() -> None:
    front, text = split_front_matter("---\r\nat: 2026-01-31 12:00:00\r\nn: 1\r\n---\r\ntext")
    assert (front, text) == ({"at": "2026-01-31 12:00:00", "n": 1}, "text")


@example("01234567 10:00 1:2:3 NO no yes on off y True NULL .inf -.inf .NaN 0x1F 0o17 0b11 1_000 1.10 1. .5 +1 -0 = <<")
@example(
    "1e3 1.0e3 1E3 12e45 1.5E+3 0.1 -0.0 1.0e+16 2024-1-5 2024-01-05t1:2:3.10 99999999999999999999 1.00000000000000001"
)
@given(st.text("0123456789:._-+exZTnoyfatrulsNO=~ ", min_size=1, max_size=12))
def test_what_is_written_without_quotation_marks_is_text_or_is_written_back_as_it_was(words: str) -> None:
    written = [word for word in words.split() if word not in ("~", "null", "-") and not word.endswith(":")]
    lines = "".join(f"{n}:\n- {word}\n" for n, word in enumerate(written))
    front, _ = split_front_matter(f"---\n{lines}---\n")
    for word, [value] in zip(written, front.values(), strict=True):
        assert (value if isinstance(value, str) else yaml.safe_dump([value])[2:-1]) == word
    named, _ = split_front_matter("---\n" + "".join(f"{word}: 1\n" for word in {*written}) + "---\n")
    assert named.keys() == {*written}


def test_numbers_and_truth_values_are_no_texts() -> None:
    front, _ = split_front_matter("---\na: [0, -7, 1.5, -0.0, 1.0e+16, true, false, null, ~]\nb:\n---\n")
    assert repr(front) == repr({"a": [0, -7, 1.5, -0.0, 1e16, True, False, None, None], "b": None})


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
