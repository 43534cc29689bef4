"""What stands for metadata, exactly as much the same as the JSON is and as large, and what for a whole request."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmws_core.messages.memory import CreateMemory
from tmws_core.messages.merging import request_hash
from tmws_core.messages.sayings import Said, Sayings
from tmws_core.wire import structure

_LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-2, 2) | st.text(max_size=90)
_VALUES = st.recursive(_LEAVES, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3))
_METADATA = st.dictionaries(st.text("abc\u00e9", max_size=2), _VALUES, max_size=5)


@given(_METADATA, _METADATA)
def test_both_together_have_the_size_and_the_form_of_what_they_make(one: dict[str, Any], other: dict[str, Any]) -> None:
    held, more = Said.of(one), Said.of({name: value for name, value in other.items() if name not in one})
    both = one | {name: value for name, value in other.items() if name not in one}
    size = len(json.dumps(both, ensure_ascii=False, separators=(",", ":")).encode())
    assert held.size_with(more) == held.size_with(Said.of(other)) == size
    assert held.with_more(more) == Said.of(both)
    assert not held.contradicts(more)


@given(_METADATA)
def test_the_form_does_not_depend_on_the_order_of_names(metadata: dict[str, Any]) -> None:
    turned = dict(reversed(metadata.items()))
    assert Said.of(turned) == Said.of(metadata)


@pytest.mark.parametrize("other", [True, 1.0, "1", [1], None])
@pytest.mark.parametrize("around", ["{}", '{{"a": [{}]}}'])
def test_one_is_one_and_nothing_else(other: object, around: str) -> None:
    one, others = (json.loads(around.format(json.dumps(each))) for each in (1, other))
    assert Said.of({"a": one}).contradicts(Said.of({"a": others}))


def test_what_was_met_is_not_looked_at_again() -> None:
    sayings, held, more = Sayings(), {"a": 1}, {"b": 2}
    both = sayings.add(held, more)
    assert both == {"a": 1, "b": 2}
    assert sayings.of(both) is sayings.of(both)
    assert sayings.of(both) == Said.of(both)


def test_a_request_is_known_again_by_what_versions_before_have_kept_of_it() -> None:
    said = {
        "content": "Zürich, wir kommen.",
        "tags": ["b", "a"],
        "metadata": {"ort": "Köln", "n": 1.0},
        "importance": 0.5,
        "occurred_at": "2026-01-31T12:00:00+02:00",
    }
    for more in ({}, {"agent_id": "ada", "idempotency_key": "k", "namespace": "elsewhere"}):
        kept = request_hash(structure({**said, **more}, CreateMemory), "acme")
        assert kept == "2938fcb4a6d7907ba55ae96741b5f04e576cf1525ed9ca0555f4d6c86674961d"
