"""JSON of any length is taken apart into its elements, and no more of it is held than one of them."""

import io
import json
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmws_cli.transfer import elements
from tmws_cli.transfer.elements import ELEMENT_BYTES, Elements
from tmws_cli.transfer.recognising import Stream
from tmws_cli.transfer.records import Record

CHAT = {"mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": ["Said."]}}}}}


class _Endless(io.RawIOBase):
    """Conversations without end, as bytes."""

    one = b"," + json.dumps({**CHAT, "title": "x" * 10_000}).encode()

    def __init__(self) -> None:
        self.given = 0
        self.rest = b"[" + self.one[1:]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        taken = self.rest[: len(buffer)]
        self.rest = self.rest[len(taken) :] or self.one
        buffer[: len(taken)] = taken
        self.given += len(taken)
        return len(taken)


def test_conversations_are_read_one_at_a_time() -> None:
    endless = _Endless()
    found = Stream(None, cast("Any", io.BufferedReader(endless, 64 * 1024)), None, ignore_unknown=False)
    source = iter(found.recognised("auto").source)
    for _ in range(200):
        assert isinstance(next(source), Record)
    assert endless.given < 201 * len(_Endless.one) + 256 * 1024


def found_in(raw: bytes, *, opened: bool = False) -> list[Any]:
    return [json.loads(each.raw) if each.raw else each.problem for each in Elements(io.BytesIO(raw), opened)]


_VALUES = st.recursive(
    st.sampled_from([0, None, True, 1.5, 'a"b\\', "\\\\", "{[", "]", "é", "x" * 9]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", '"}', ":"]), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize("size", [1, 7, 65536])
@settings(max_examples=60, deadline=None)
@given(st.lists(_VALUES, max_size=5), st.sampled_from([None, 1]))
def test_elements_are_those_that_a_parser_finds(size: int, values: list[Any], indent: int | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elements, "_CHUNK", size)
        assert found_in(json.dumps(values, indent=indent).encode()) == values
        objects = [value for value in values if isinstance(value, dict)]
        assert found_in(b"\n".join(json.dumps(value).encode() for value in objects)) == objects
        page = {"count": 1, "next": "x", "results": values, "data": {"items": objects}}
        assert found_in(json.dumps(page).encode(), opened=True) == [*values, *objects]


def test_elements_that_are_too_long_or_cut_off_are_told_and_the_others_found() -> None:
    long = b'{"a": "' + b"x" * ELEMENT_BYTES + b'"}'
    assert found_in(b"[" + long + b', {"b": 1}, {"c": [1') == [
        f"is longer than {ELEMENT_BYTES} bytes",
        {"b": 1},
        "is not complete: the file ends there",
    ]
    assert found_in(b'["abc') == ["is not complete: the file ends there"]
