"""Notes as people and programs write them: all of a note is stored, or what is not is named."""

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tmws_cli.transfer.files import found_path
from tmws_cli.transfer.markdown import sections
from tmws_cli.transfer.pages import MarkdownPages
from tmws_cli.transfer.records import Item, Record, Refusal, Skip
from tmws_core.domain.memory import METADATA_BYTES
from tmws_core.messages.memory import CreateMemory


def taken(path: Path) -> list[Item]:
    return list(MarkdownPages.at(path, ignore_unknown=False))


def requests_in(path: Path) -> list[CreateMemory]:
    return [item.request for item in taken(path) if isinstance(item, Record)]


def note(folder: Path, text: str, name: str = "note.md") -> CreateMemory:
    (folder / name).write_text(text, encoding="utf-8")
    [item] = taken(folder / name)
    assert isinstance(item, Record), item
    return item.request


def test_a_heading_that_stands_above_nothing_is_a_memory(tmp_path: Path) -> None:
    (tmp_path / "list.md").write_text("# Errands\n\n## Buy milk\n## Call Bob\n\n# Done\n", encoding="utf-8")
    assert [request.content for request in requests_in(tmp_path)] == [
        "Errands > Buy milk",
        "Errands > Call Bob",
        "Errands > Done",
    ]
    text = "# Errands\n{0}\n## Call Bob\n\nToday.\n{0}\n## Walk\n\n## \n\n# Later\n\n### Sail\n\nAway.\n"
    (tmp_path / "list.md").write_text(text.replace("## Walk", "").format(""), encoding="utf-8")
    before = requests_in(tmp_path)
    (tmp_path / "list.md").write_text(text.format("\n## Buy milk\n\n## Call Bob\n"), encoding="utf-8")
    found = requests_in(tmp_path)
    assert [request.content.removeprefix("Errands > ") for request in found] == [
        "Buy milk",
        "Call Bob",
        "Call Bob\n\nToday.",
        "Buy milk",
        "Call Bob",
        "Walk",
        "Later > Sail\n\nAway.",
    ]
    assert [request for request in found if "\n" in request.content] == before  # with the same keys and numbers
    assert len({request.idempotency_key for request in found}) == len(found)


def test_a_name_that_ends_with_a_hash_has_the_key_that_it_had_without(tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("# F# #\n\nOne.\n\n# F\n\nTwo.\n\n# F\n", encoding="utf-8")
    named = requests_in(tmp_path)
    assert [request.content for request in named] == ["F#\n\nOne.", "F# > F\n\nTwo.", "F# > F"]
    (tmp_path / "note.md").write_text("# F\n\nOne.\n\n# F\n\nTwo.\n\n# F\n\nThree.", encoding="utf-8")
    assert [request.idempotency_key for request in requests_in(tmp_path)] == [each.idempotency_key for each in named]


def test_a_note_of_properties_alone_is_found_by_them(tmp_path: Path) -> None:
    request = note(tmp_path, "---\nrole: plumber\nphone: 555\ntags: [people]\n---\n", "Sofia.md")
    assert request.content == "Sofia\n\nrole: plumber\nphone: 555\ntags:\n- people"
    assert (request.tags, request.metadata) == (("people",), {"role": "plumber", "phone": 555})


@pytest.mark.parametrize("text", ["", "\n \n", "---\n---\n", "---\n# nothing\n---\n\n", "#  \n"])
def test_a_note_that_says_nothing_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "empty.md").write_text(text, encoding="utf-8")
    assert taken(tmp_path) == [Skip(place="empty.md", reason="holds no text")]


def test_links_to_folders_are_stored_where_they_lead_or_named(tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    for folder in (vault / "real", vault / ".hidden", tmp_path / "other"):
        folder.mkdir(parents=True)
        (folder / "page.md").write_text(folder.name, encoding="utf-8")
    (vault / "again").symlink_to(vault / "real")
    (vault / "secret").symlink_to(vault / ".hidden")
    (vault / "outer").symlink_to(tmp_path / "other")
    found = taken(vault)
    assert [item.place for item in found if isinstance(item, Skip)] == ["outer", "secret"]
    assert [item.place for item in found if isinstance(item, Record)] == ["real/page.md"]


def test_a_name_is_the_same_however_its_accents_are_encoded(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Café.md") for form in ("NFC", "NFD"))
    first = note(tmp_path, "Opens at nine. [[Thé]]", composed)
    (tmp_path / composed).rename(tmp_path / decomposed)
    [second] = requests_in(tmp_path)
    assert second == first
    assert found_path(tmp_path / composed) == tmp_path / decomposed
    assert unicodedata.is_normalized("NFC", f"{first.content}{first.source}{first.session_id}")
    (tmp_path / composed).write_text("Another file.", encoding="utf-8")
    assert len({request.idempotency_key for request in requests_in(tmp_path)}) == 2


def test_links_and_tags_within_a_text_belong_to_the_memory(tmp_path: Path) -> None:
    text = """---
tags: [work]
---
Ask [[People/Ada Lovelace|Ada]] about [[Engine#Gears]] and ![[plan.png]], see [[#above]] #project/alpha, (#2024-q1).
Not: `#code` `[[Code]]` C#sharp #123 https://example.org/#frag # heading
```
#fenced [[Fenced]]
~~~
```
```#code` it stays open```
#work #last
"""
    request = note(tmp_path, text)
    assert request.tags == ("work", "project/alpha", "2024-q1", "last")
    assert request.metadata == {"links": ["People/Ada Lovelace", "Engine", "plan.png"]}


def test_tags_and_links_that_are_too_many_cost_nothing(tmp_path: Path) -> None:
    request = note(tmp_path, f"---\nlong: {'x' * 16_000}\n---\n" + " ".join(f"#t{n} [[Note {n}]]" for n in range(100)))
    assert len(request.tags) == 32
    assert request.metadata.keys() == {"long"}
    assert note(tmp_path, "---\nlinks: mine\n---\n[[Other]]").metadata == {"links": "mine"}


@pytest.mark.parametrize(
    ("front", "metadata", "tags"),
    [
        ("  title: a: b\n  n: 1", {"title": "a: b", "n": 1}, ()),
        ("n: x - #y\nlist:\n  - #c\n  - d", {"n": "x -", "list": [None, "d"]}, ()),
        ("title: Tides: how they come 🌊", {"title": "Tides: how they come 🌊"}, ()),
        ("date: {{date}}\nn: 1", {"date": "{{date}}", "n": 1}, ()),
        ("title: 'it's'\nby: @ada", {"title": "'it's'", "by": "@ada"}, ()),
        ("a:\tb\nlist:\n  - c: d: e", {"a": "b", "list": [{"c": "d: e"}]}, ()),
        ("tags: #one #two/🌊", {}, ("one", "two/🌊")),
        ("tags:\n  - #one\n  - two", {}, ("one", "two")),
        ("tag: one\ntags: [two]", {}, ("one", "two")),
        ("@me: `x`: y\n`code`: [a, b]\nt: |\n  a: b: c", {"@me": "`x`: y", "`code`": ["a", "b"], "t": "a: b: c\n"}, ()),
    ],
)
def test_lines_that_are_no_yaml_but_mean_one_thing_are_taken(
    tmp_path: Path, front: str, metadata: dict[str, Any], tags: tuple[str, ...]
) -> None:
    request = note(tmp_path, f"---\n{front}\n---\nText.\n")
    assert (request.metadata, request.tags) == (metadata, tags)


def test_texts_that_begin_as_other_yaml_does_are_taken_as_they_are_written_and_named(tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text(
        """---
see: [[One]], [[Two]]
aliases:
- [[One]]s
- [a, b]
state: [draft] plan
quoted: > a text
n: 1
path: "C:\\docs"
list: - item
tags: [a,
  b]
---
Text.
""",
        encoding="utf-8",
    )
    skip, record = taken(tmp_path)
    assert skip == Skip(place="note.md, see, …", reason="is no YAML, and is stored as the text that is written")
    assert isinstance(record, Record)
    assert record.request.tags == ("a", "b")
    assert record.request.metadata == {
        "see": "[[One]], [[Two]]",
        "aliases": ["[[One]]s", ["a", "b"]],
        "state": "[draft] plan",
        "quoted": "> a text",
        "n": 1,
        "path": '"C:\\docs"',
        "list": "- item",
    }


@pytest.mark.parametrize(
    "front",
    [
        "a: [b] c\nd: [",
        "a: [b] c\na: 1",
        "a: [b] c\ntext",
        "a: [b] c\nd: [*x]",
        "a:\n  - [b] c\n  - |\n    d: e: f",
        f"a: {'[' * 65}{']' * 65}, x",
        f"a: [b] c\nd: {'x' * METADATA_BYTES}",
    ],
)
def test_front_matter_that_may_mean_something_else_is_refused(tmp_path: Path, front: str) -> None:
    (tmp_path / "note.md").write_text(f"---\n{front}\n---\nText.\n", encoding="utf-8")
    [item] = taken(tmp_path)
    assert isinstance(item, Refusal)
    assert "front matter: is no YAML" in item.reason


@pytest.mark.parametrize("text", ["---\nA rule.\n---\nText.", "---\n- a\n- b\n---\nText."])
def test_text_between_two_rules_is_text(tmp_path: Path, text: str) -> None:
    assert note(tmp_path, text).content == f"note\n\n{text}"


@pytest.mark.parametrize(
    ("front", "day"),
    [
        ("date: 2024-07-01", "2024-07-01T00:00:00+00:00"),
        ("date: '20240701'", "2024-07-01T00:00:00+00:00"),
        ("created: 2024/7/1 12:30", "2024-07-01T12:30:00+00:00"),
        ("date: 2024-7-1 9:30:00.5 +2", "2024-07-01T07:30:00.500000+00:00"),
        ("date: 1719840000", "2024-07-01T13:20:00+00:00"),
        ("created_at: Mon, 01 Jul 2024 10:00:00 +0200", "2024-07-01T08:00:00+00:00"),
        ("date: some day\ncreated: 2024-07-01", "2024-07-01T00:00:00+00:00"),
        ("date: 2024-07-01\noccurred_at: 2024-07-02", "2024-07-02T00:00:00+00:00"),
        ("date: 2024-07-01\noccurred_at: then", None),
    ],
)
def test_a_date_is_when_it_occurred_and_stays_in_the_metadata(tmp_path: Path, front: str, day: str | None) -> None:
    request = note(tmp_path, f"---\n{front}\n---\nText.\n")
    assert (request.occurred_at and request.occurred_at.isoformat()) == day
    assert front.split(":", maxsplit=1)[0] in request.metadata


def test_a_long_paragraph_is_cut_between_lines_or_words_where_it_has_any(tmp_path: Path) -> None:
    for text, seam in (("\n".join(["A line of a log."] * 1500), "\n"), ("word " * 6000, " "), ("x" * 20_000, "")):
        (tmp_path / "log.md").write_text(text, encoding="utf-8")
        pieces = [request.content.removeprefix("log\n\n") for request in requests_in(tmp_path)]
        assert len(pieces) > 2
        assert seam.join(pieces) == text.strip()


def test_front_matter_may_be_toml_and_may_end_with_dots(tmp_path: Path) -> None:
    toml = note(
        tmp_path, '+++\r\ntitle = "Tides"\r\ntags = ["sea", 7]\r\ndate = 2025-03-01\r\nn = inf\r\n+++\r\nHigh.\r\n'
    )
    assert (toml.content, toml.tags) == ("Tides\n\nHigh.", ("sea", "7"))
    assert toml.metadata == {"title": "Tides", "date": "2025-03-01", "n": "inf"}
    assert toml.occurred_at is not None
    assert toml.occurred_at.isoformat() == "2025-03-01T00:00:00+00:00"
    dots = note(tmp_path, "---\ntags: [sea]\n...\nLow.\n\n---\n")
    assert (dots.content, dots.tags) == ("note\n\nLow.\n\n---", ("sea",))


@pytest.mark.parametrize(
    "front", ["a = 1\na = 2", "a", "a." * 32_000 + "a = 1", "a = " + "[" * 10_000, f"a = '{'x' * 70_000}'"]
)
def test_front_matter_that_is_no_toml_is_refused(tmp_path: Path, front: str) -> None:
    (tmp_path / "note.md").write_text(f"+++\n{front}\n+++\nText.\n", encoding="utf-8")
    [item] = taken(tmp_path)
    assert isinstance(item, Refusal)
    assert "front matter: is " in item.reason


def test_front_matter_below_that_of_basic_memory_is_front_matter(tmp_path: Path) -> None:
    path = tmp_path / "coffee.md"
    own = "---\ntags: [drink]\ndate: 2024-07-01\ntype: note\n---\n\nPour.\n"
    upper = "---\ntitle: Coffee\ntype: note\npermalink: coffee\n---\n\n"
    path.write_text(upper + own, encoding="utf-8")
    [request] = requests_in(path)
    assert (request.content, request.tags) == ("Coffee\n\nPour.", ("drink",))
    assert request.occurred_at is not None
    assert request.occurred_at.isoformat() == "2024-07-01T00:00:00+00:00"
    path.write_text(upper + own.replace("type: note", "type: other"), encoding="utf-8")
    requests = requests_in(path)
    assert {(each.tags, each.metadata["type"]) for each in requests} == {(("drink",), "note")}
    assert "type: other" in "".join(each.content for each in requests)
    for text in ("---\na: [\n---\n", "---\nA rule.\n---\n"):
        path.write_text(upper + text, encoding="utf-8")
        assert not any(isinstance(item, Refusal) for item in taken(path))


def test_lines_that_are_underlined_are_headings(tmp_path: Path) -> None:
    text = "Quay\n====\n\nOne.\n\nNight\n---\nTwo.\n\n- a list\n---\n\n```\nCode\n----\n```\n\nA text\nof lines.\n---\n"
    assert [(section.headings, section.line) for section in sections(text)] == [
        (("Quay",), 1),
        (("Quay", "Night"), 6),
    ]
    (tmp_path / "note.md").write_text(text, encoding="utf-8")
    first, second = requests_in(tmp_path)
    assert first.content == "Quay\n\nOne."
    assert second.content == f"Quay > Night\n\n{text.partition('---')[2].strip()}"


def test_names_that_would_be_one_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text('---\n"a\\x01": 1\n"a\\x02": 2\n---\nText.\n', encoding="utf-8")
    [item] = taken(tmp_path)
    assert isinstance(item, Refusal)
    assert "has two names that are the same text" in item.reason
