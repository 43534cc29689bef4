"""A key that is there twice is found, wherever and however it is written, and nothing else is; numbers stay whole."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmws_core.doubles import faithful
from tmws_core.errors import InvalidField

TEXTS = st.text(alphabet='":\\{}[],ab é\n', max_size=6)
VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def refused(raw: bytes) -> str | None:
    try:
        faithful(raw, orjson.loads(raw))
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


NUMBERS = st.integers(-(10**40), 10**40) | st.floats(allow_nan=False, allow_infinity=False)


@given(value=st.recursive(NUMBERS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8))
def test_numbers_are_those_that_are_written(value: Any) -> None:
    raw = json.dumps(value).encode()
    assert repr(faithful(raw, orjson.loads(raw))) == repr(value)


def test_an_integer_of_more_than_64_bits_is_no_float_and_one_of_very_many_digits_takes_no_time() -> None:
    raw = b'{"a": 18446744073709551616, "b": [-9223372036854775809, 6.02e23, 18446744073709551615]}'
    assert faithful(raw, orjson.loads(raw)) == {"a": 2**64, "b": [-(2**63) - 1, 6.02e23, 2**64 - 1]}
    long = b"1" + b"0" * 300
    assert faithful(long, orjson.loads(long)) == 10**99
