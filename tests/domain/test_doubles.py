"""A key that is there twice is found, wherever and however it is written, and nothing else is."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmws_core.doubles import check_doubles
from tmws_core.errors import InvalidField

TEXTS = st.text(alphabet='":\\{}[],ab é\n', max_size=6)
VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def refused(raw: bytes) -> str | None:
    try:
        check_doubles(raw, orjson.loads(raw))
    except InvalidField as error:
        return error.field
    return None


@given(value=VALUES, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_what_has_each_key_once_is_let_through(value: Any, indent: int | None, *, ascii_only: bool) -> None:
    assert refused(json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()) is None


@given(value=VALUES, key=TEXTS, around=st.sampled_from(["%s", "[%s]", '{"x": %s, "y:z": ":"}', '[":\\"", {"a":%s}]']))
def test_a_key_that_is_there_twice_is_named(value: Any, key: str, around: str) -> None:
    inner, name = json.dumps(value), json.dumps(key)
    assert refused((around % f'{{{name}: 1, "other:": {inner}, {name} : {inner}}}').encode()) == key


@pytest.mark.parametrize("name", ["content", "c\\u006fntent"])
def test_a_key_that_is_written_in_two_ways_is_the_same(name: str) -> None:
    assert refused(f'{{"content": "a", "{name}": "b"}}'.encode()) == "content"


def test_a_key_in_long_json_is_named_and_one_that_lies_too_deep_is_refused() -> None:
    text = '"' + 'no end: \\" ' * 40_000 + '"'
    assert refused(f'{{"a": {text}, "b": {text}}}'.encode()) is None
    assert refused(f'{{"a": {text}, "b": {text}, "a": 1}}'.encode()) == "a"
    deep = '{"a":' * 1000 + '{"b":1,"b":2}' + "}" * 1000
    assert refused(deep.encode()) in ("b", "arguments")
