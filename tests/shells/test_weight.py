"""How many values a body has is told before it is parsed, by what stands outside of its texts."""

import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmws_core import quoted
from tmws_core.errors import TooManyValues
from tmws_mcp import weight
from tmws_mcp.bodies import BODY_BYTES

values = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(st.sampled_from('a,[{"\\\u00e9'), max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('a,"\\', max_size=4), inner, max_size=4),
)


def counted(value: object) -> int:
    """Return how many values there are: what stands behind a comma, each name, and four for each list and object."""
    if isinstance(value, list | dict):
        inner = list(value.values() if isinstance(value, dict) else value)
        names = len(inner) if isinstance(value, dict) else 0
        return 4 + names + max(len(inner) - 1, 0) + sum(map(counted, inner))
    return 0


@given(values, st.integers(2, 40))
def test_only_what_stands_outside_of_texts_is_counted(value: object, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quoted, "STEP", step)
        assert weight.values_of(orjson.dumps(value)) == counted(value)


@pytest.mark.parametrize(
    "piece",
    [b'"a",', b"[],", b'{"a":[]},', b'"a":1,', b"1,", b"[", b'"\\\\",', b'"",', b'"\\",[",'],
    ids=lambda piece: piece.hex(),
)
def test_a_body_of_endless_values_is_refused_before_it_is_parsed(piece: bytes) -> None:
    body = b"[" + piece * (BODY_BYTES // len(piece))
    before = time.thread_time()
    with pytest.raises(TooManyValues):
        weight.check_weight(body)
    assert time.thread_time() - before < 5


@pytest.mark.parametrize("piece", [b",", b"[,", b"\\\\", b'\\"', b'\\",', b"a"], ids=lambda piece: piece.hex())
def test_a_text_may_hold_what_looks_like_values(piece: bytes) -> None:
    text = piece * ((BODY_BYTES - 100) // len(piece))
    before = time.thread_time()
    weight.check_weight(b'{"memories": [{"content": "' + text + b'"}]}')
    weight.check_weight(b'{"memories": [{"content": "' + text + b"\\")
    assert time.thread_time() - before < 5


def test_the_largest_batch_is_not_too_much() -> None:
    memory = {
        **{f"field {number}": "x" for number in range(14)},
        "tags": ["t"] * 32,
        "shared_with": ["agent-1"] * 256,
        "metadata": {str(number): number for number in range(20)},
    }
    weight.check_weight(orjson.dumps({"memories": [memory] * 1000}))
