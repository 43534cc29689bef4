"""Whatever a file holds, it is recognised, taken apart and refused within bounds, with a reason."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shells.test_other_programs import document, lines, read
from tmws_cli.transfer.elements import Elements
from tmws_cli.transfer.formats.basic_memory import said
from tmws_cli.transfer.front import front_matter_in
from tmws_cli.transfer.labels import told_fields
from tmws_cli.transfer.moments import moment_of
from tmws_cli.transfer.recognising import Stream
from tmws_cli.transfer.records import Record, Refusal, Skip
from tmws_core.errors import InvalidField

WORDS = "Zürich 語 😀"
LIST = json.dumps([{"text": WORDS}] * 3, ensure_ascii=False)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id": 1,\n"text": "a", "about":\n{"x": 1}\n}\n{"text": "b"}',
        b'{"text": "torn\n{"text": "a"}\n{"text": "b"}\n',
        b'no json\n{"text": "a"}\n\n{"text": "b"}\n',
        b'{"about": 1}\n{"text": "a"}\n{"text": "b"}\n',
        b'{"text": NaN}\n{"text": "a"}\n{"text": "b"}\n',
    ],
)
def test_objects_are_found_whether_each_has_a_line_or_not(raw: bytes) -> None:
    _, items = read(raw)
    assert [item.request.content for item in items if isinstance(item, Record)] == ["a", "b"]


PARTLESS = {"content_type": "code", "parts": [], "text": "look"}


@pytest.mark.parametrize(
    ("entry", "content"),
    [
        ({"id": "1", "title": "Deploy", "text": None, "body": "Lisa does it."}, "Deploy\n\nLisa does it."),
        ({"id": "", "uuid": 7, "text": " \n", "title": "", "name": "Deploy", "body": "Tom."}, "Deploy\n\nTom."),
        ({"id": 1, "content": {"parts": 1}, "message": "In a part."}, "In a part."),
        ({"id": 1, "title": "Title alone", "text": None, "body": ""}, "Title alone"),
        ({"memory": "", "user_id": "u", "text": "Likes tea", "tags": None, "categories": ["a"]}, "Likes tea"),
        ({"id": 1, "data": None, "payload": {}, "source_payload": {"data": "Likes tea"}}, "Likes tea"),
        ({"source": "ada", "relationship": "owns", "destination": None, "target": "Box"}, "ada owns Box"),
        ({"name": "Ada", "observations": [{"content": None, "text": "likes tea"}]}, "Ada: likes tea"),
        ({"from": "Ada", "to": "Box", "relationType": "", "relation_type": "owns"}, "Ada owns Box"),
        ({"mapping": {"a": {"message": {"author": {"role": "user"}, "content": PARTLESS}}}}, "look"),
    ],
)
def test_what_an_earlier_name_leaves_empty_is_taken_from_the_next(entry: dict[str, Any], content: str) -> None:
    dated = {**entry, "occurred_at": "", "created_at": None, "timestamp": 1719840000}
    for raw in (lines(dated), document([dated])):
        [item] = read(raw)[1]
        assert isinstance(item, Record), item
        assert item.request.content == content
        if "mapping" not in entry:
            assert item.request.occurred_at is not None
            assert item.request.occurred_at.timestamp() == 1719840000
        assert set(item.request.tags) >= set(entry.get("categories", ()))


class _Slow(io.BytesIO):
    """A pipe whose writer gives a byte at a time."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(min(size or 1, 1))

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("raw", [b'\n[\n{"text": "a"}\n]', b'{"text": "a"}\n', b"text,tags\na,b\n"])
def test_a_pipe_is_recognised_however_slowly_it_comes(raw: bytes) -> None:
    found = Stream(None, _Slow(raw), None, ignore_unknown=False).recognised("auto")
    assert [item.request.content for item in found.source if isinstance(item, Record)] == ["a"]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\x7fELF\x02\x01\0\0", "no text"),
        (b"PK\x03\x04\x14\0", "unpack it"),
        (b"SQLite format 3\0", "a database"),
        (b"Dear all,\nthis is a letter.\n", "--format markdown"),
        (document({"name": "x", "version": "1"}), "no text under a name that is known"),
        (document(["one", "two"]), "no text under a name that is known"),
    ],
)
def test_what_cannot_be_imported_is_refused_in_one_sentence(raw: bytes, words: str) -> None:
    with pytest.raises(InvalidField, match="stdin holds no memories: it is") as refusal:
        read(raw)
    assert words in refusal.value.message
    assert "\n" not in refusal.value.message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("raw", [LIST, LIST.replace("}, {", "}\n{")[1:-1], "text,tags\n" + f"{WORDS},a\n" * 3])
def test_a_file_may_be_in_any_encoding_that_tells_itself(raw: str, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    _, items = read((mark + raw).encode(encoding))
    assert [item.request.content for item in items if isinstance(item, Record)] == [WORDS] * 3


def test_half_a_character_is_replaced_but_in_our_own_form() -> None:
    halves = r"\ud83d a \udf78\ud83c \\ud83d \uD83C\uDF78 \ud83d\ud83d"
    whole = "\ufffd a \ufffd\ufffd \\ud83d \U0001f378 \ufffd\ufffd"
    entity = '{"name": "Ada", "observations": ["tea", "' + halves + '"], "\\udc00": 1.5}'
    for raw in (entity, f"[{entity}]"):
        _, items = read(raw.encode())
        found = [item.request for item in items if isinstance(item, Record)]
        assert [each.content for each in found] == ["Ada: tea", f"Ada: {whole}"]
        assert found[0].metadata["\ufffd"] == 1.5
    for own in (
        r'{"content": "\ud83d"}',
        '{"content": "tea"',
        r'{"history_of": "1", "history": [{"content": "\ud83d"}]}',
    ):
        [refusal] = read(own.encode())[1]
        assert isinstance(refusal, Refusal)


@pytest.mark.parametrize(
    "value",
    [
        1719840000,
        "1719840000.0",
        1719840000_000,
        1719840000_000_000,
        1719840000_000_000_000,
        " 2024-07-01 13:20 ",
        "2024/6/30 24:00 -13:20",
        "2024-07-01 13:20:00 UTC",
        "2024-07-01 15:20 +0200",
    ],
)
def test_a_time_is_read_in_any_of_its_forms(value: Any) -> None:
    assert moment_of(value) == "2024-07-01T13:20:00Z"


@pytest.mark.parametrize(
    "value",
    [
        2024,
        "yesterday",
        "2024-07-01" + " " * 64,
        "",
        None,
        True,
        float("nan"),
        "2024-13-01",
        "1 Jul 99999999999999999999 10:00:00 +0000",
        [],
        10**30,
    ],
)
def test_what_is_no_time_is_none(value: Any) -> None:
    assert moment_of(value) is None


def test_what_stands_in_files_takes_time_that_grows_with_its_length() -> None:
    # Each took minutes or more where the time grew with the square of the length.
    blanks = " " * 200_000
    assert front_matter_in(f"tags:\n- #a{blanks}x") is not None
    with pytest.raises(InvalidField):
        front_matter_in(f"title: a: b\nk{blanks}x")
    assert told_fields({"tags": "a"}, written={"tags": (f"a{blanks}b",)}, not_meant=frozenset())
    assert said(f"- {blanks * 20}x") == {}
    escaped = b'"' + b'\\"' * 100_000
    assert [each.raw for each in Elements(io.BytesIO(b"{" + escaped), opened=True)] == []
    with pytest.raises(InvalidField):
        Stream(None, io.BytesIO(b"{" + escaped), None, ignore_unknown=False).recognised("auto")


def _shapes() -> Iterator[Callable[[Any], bytes]]:
    yield lines
    yield document
    yield lambda value: document([value])
    yield lambda value: document({"results": [value], "mapping": value})


_NAMES = st.sampled_from(
    [
        "content",
        "memory",
        "mapping",
        "chat_messages",
        "observations",
        "name",
        "payload",
        "id",
        "text",
        "created_at",
        "metadata",
        "tags",
        "content_hash",
        "message",
        "parent",
        "author",
        "uuid",
        "docs",
        "from",
        "to",
        "relationType",
    ]
)
_WILD = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES | st.text(max_size=5), inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=70, deadline=None)
@given(st.dictionaries(_NAMES, _WILD, max_size=6), st.sampled_from(list(_shapes())))
def test_whatever_an_entry_holds_it_is_taken_or_refused(value: Any, shape: Callable[[Any], bytes]) -> None:
    try:
        _, items = read(shape(value))
    except InvalidField:
        return
    assert all(isinstance(item, Record | Refusal | Skip) for item in items)
    assert not any(
        "AttributeError" in item.reason or "TypeError" in item.reason for item in items if isinstance(item, Refusal)
    )


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=120) | st.text(alphabet='{}[]",:\n\t;abc content', max_size=80).map(str.encode))
def test_whatever_a_file_holds_it_is_taken_or_refused(raw: bytes) -> None:
    for format_ in ("auto", "json", "csv"):
        try:
            read(raw, format_)
        except InvalidField:
            continue
