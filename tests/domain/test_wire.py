"""The wire converter: nothing is coerced, every refusal names its field, what goes out comes back."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmws_core.domain.memory import AccessLevel, MemoryType
from tmws_core.errors import ContentTooLarge, InvalidField
from tmws_core.messages.memory import CreateMemories, CreateMemory, ListMemories, UpdateMemory
from tmws_core.messages.search import SearchMemories
from tmws_core.schema import schema_of
from tmws_core.wire import clearable_fields, outweighs, structure, unstructure

CLEARABLE = ("session_id", "sequence", "occurred_at", "expires_at", "source", "superseded_by")
"""Fields of update_memory that a memory may be without."""

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "content", "is missing"),
    ({"content": None}, "content", "not null"),
    ({"content": 3}, "content", "must be a string"),
    ({"content": ""}, "content", "is empty"),
    ({"content": " \n "}, "content", "is empty"),
    ({"content": "a\x00b"}, "content", "control character U+0000"),
    ({"content": "a\ud800b"}, "content", "lone surrogate"),
    ({"content": "x", "contents": "y"}, "contents", "Did you mean content?"),
    ({"content": "x", "importance": "0.5"}, "importance", "must be a number, not a string"),
    ({"content": "x", "importance": True}, "importance", "not a boolean"),
    ({"content": "x", "importance": 1.5}, "importance", "1.5 is out of range. Give a number from 0 to 1"),
    ({"content": "x", "importance": math.nan}, "importance", "finite"),
    ({"content": "x", "importance": math.inf}, "importance", "finite"),
    ({"content": "x", "importance": 10**400}, "importance", "finite"),
    ({"content": "x", "sequence": "3"}, "sequence", "must be an integer, not a string"),
    ({"content": "x", "sequence": 3.0}, "sequence", "must be an integer"),
    ({"content": "x", "sequence": True}, "sequence", "not a boolean"),
    ({"content": "x", "sequence": -1}, "sequence", "-1 is out of range. Give a number from 0 to 9007199254740992"),
    ({"content": "x", "sequence": 10**80}, "sequence", "an integer of more than 64 bits is out of range"),
    ({"content": "x", "memory_type": "Episodic"}, "memory_type", "Choose one of"),
    ({"content": "x", "memory_type": ["episodic"]}, "memory_type", "a list is not allowed"),
    ({"content": "x", "access_level": True}, "access_level", "not allowed"),
    ({"content": "x", "tags": "a"}, "tags", "must be a list, not a string"),
    ({"content": "x", "tags": ["a", 3]}, "tags[1]", "must be a string"),
    ({"content": "x", "tags": ["a", ""]}, "tags[1]", "is empty"),
    ({"content": "x", "tags": ["a"] * 33}, "tags", "has 33 items. Give 0 to 32 items"),
    ({"content": "x", "metadata": []}, "metadata", "must be a JSON object"),
    ({"content": "x", "metadata": {"a": math.nan}}, "metadata", "not finite. Use JSON numbers"),
    ({"content": "x", "metadata": {1: "a"}}, "metadata", "a key that is no string. Use strings as keys"),
    ({"content": "x", "metadata": {"a": {1}}}, "metadata", "holds a set. Use JSON values only"),
    ({"content": "x", "metadata": {"a": 2**80}}, "metadata", "64 bits. Write it as a string"),
    ({"content": "x", "metadata": {"a\x01": 1}}, "metadata", "control character"),
    ({"content": "x", "occurred_at": "2023"}, "occurred_at", "RFC 3339"),
    ({"content": "x", "occurred_at": "2023-02-30T00:00:00Z"}, "occurred_at", "RFC 3339"),
    ({"content": "x", "occurred_at": "2023-02-03T00:00:00"}, "occurred_at", "RFC 3339"),
    ({"content": "x", "occurred_at": "0001-01-01T00:00:00+09:00"}, "occurred_at", "RFC 3339"),
    ({"content": "x", "occurred_at": "2016-12-31T23:59:60+01:00"}, "occurred_at", "RFC 3339"),
    ({"content": "x", "occurred_at": "2016-12-31T24:00:01Z"}, "occurred_at", "RFC 3339"),
    ({"content": "x", "occurred_at": "9999-12-31T24:00:00Z"}, "occurred_at", "RFC 3339"),
    ({"content": "x", "occurred_at": "9999-12-31T23:59:60Z"}, "occurred_at", "RFC 3339"),
    ({"content": "x", "occurred_at": 1675382400}, "occurred_at", "must be a time"),
    ({"content": "x", "agent_id": "../etc"}, "agent_id", "agent id"),
    ({"content": "x", "namespace": "a//b"}, "namespace", "a namespace"),
]


@pytest.mark.parametrize(
    ("arguments", "field", "reason"), REFUSED, ids=lambda value: str(value)[:40].encode().hex()[:24]
)
def test_what_does_not_fit_is_refused_by_name(arguments: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(InvalidField) as refusal:
        structure(arguments, CreateMemory)
    assert refusal.value.field == field
    assert reason in refusal.value.message


@pytest.mark.parametrize("value", [None, [], "text", 3, True])
def test_arguments_are_an_object(value: object) -> None:
    with pytest.raises(InvalidField, match="must be a JSON object"):
        structure(value, CreateMemory)


def test_content_of_64_kibibytes_fits_and_one_byte_more_does_not() -> None:
    structure({"content": "é" * 32768}, CreateMemory)
    with pytest.raises(ContentTooLarge) as refusal:
        structure({"content": "é" * 32768 + "a"}, CreateMemory)
    assert refusal.value.field == "content"


@pytest.mark.parametrize("wrap", [lambda value: {"a": value}, lambda value: [value]], ids=["objects", "lists"])
def test_metadata_may_be_nested_32_levels_and_no_deeper(wrap: Callable[[object], object]) -> None:
    nested: object = {}
    for _ in range(31):
        nested = wrap(nested)
    structure({"content": "x", "metadata": {"a": nested}}, CreateMemory)
    with pytest.raises(InvalidField, match="nested"):
        structure({"content": "x", "metadata": {"a": wrap(nested)}}, CreateMemory)


@pytest.mark.parametrize(
    "written",
    ["2016-12-31t23:59:60z", "2016-12-31 23:59:60.25Z", "2017-01-01T05:29:60+05:30", "2016-12-31T24:00:00.0Z"],
)
def test_a_leap_second_and_the_end_of_a_day_are_the_beginning_of_the_next(written: str) -> None:
    moment = structure({"content": "x", "occurred_at": written}, CreateMemory).occurred_at
    assert moment is not None
    assert moment.replace(microsecond=0) == datetime(2017, 1, 1, tzinfo=UTC)


def test_a_time_without_an_offset_is_refused_where_python_makes_it() -> None:
    with pytest.raises(InvalidField, match=r"^occurred_at: has no time zone\. Give RFC 3339"):
        CreateMemory(content="x", occurred_at=datetime(2026, 1, 31, 12))  # noqa: DTZ001 - that is the fault


def test_a_float_of_metadata_may_be_as_large_as_any() -> None:
    numbers = [6.02e23, 2.0**64, -1.7e308]
    assert structure({"content": "x", "metadata": {"n": numbers}}, CreateMemory).metadata == {"n": numbers}


def test_metadata_of_more_than_16_kibibytes_is_refused() -> None:
    with pytest.raises(ContentTooLarge, match="metadata"):
        structure({"content": "x", "metadata": {"a": "b" * 16 * 1024}}, CreateMemory)


def test_an_error_inside_a_batch_names_its_place() -> None:
    with pytest.raises(InvalidField) as refusal:
        structure({"memories": [{"content": "x"}, {"content": "y", "tags": ["a", "\x07"]}]}, CreateMemories)
    assert refusal.value.field == "memories[1].tags[1]"
    with pytest.raises(InvalidField) as refusal:
        structure({"memories": [{"content": "x"}, 3]}, CreateMemories)
    assert refusal.value.field == "memories[1]"


@pytest.mark.parametrize("value", [True, False])
def test_a_flag_is_what_was_said(value: bool) -> None:  # noqa: FBT001 - a parameter
    assert structure({"include_expired": value}, ListMemories).include_expired is value


@pytest.mark.parametrize("value", ["false", 0, None, "true", 1])
def test_a_flag_is_true_or_false_only(value: object) -> None:
    with pytest.raises(InvalidField) as refusal:
        structure({"query": "x", "explain": value}, SearchMemories)
    assert refusal.value.field == "explain"


@pytest.mark.parametrize("limit", [0, 101, "10", 1.5])
def test_a_limit_is_an_integer_from_1_to_100(limit: object) -> None:
    with pytest.raises(InvalidField) as refusal:
        structure({"query": "x", "limit": limit}, SearchMemories)
    assert refusal.value.field == "limit"


def test_null_stands_for_left_out_where_nothing_is_a_value() -> None:
    assert structure({"content": "x", "session_id": None}, CreateMemory).session_id is None


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=30)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(-1e9, 1e9) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
creations = st.builds(
    CreateMemory,
    content=words,
    memory_type=st.sampled_from(MemoryType),
    importance=st.floats(0, 1),
    access_level=st.sampled_from(AccessLevel),
    tags=st.lists(words, max_size=5).map(tuple),
    metadata=st.dictionaries(words, json_values, max_size=3),
    session_id=st.none() | words,
    sequence=st.none() | st.integers(0, 2**53),
    occurred_at=st.none() | moments,
)


@given(creations)
def test_what_goes_over_the_wire_comes_back_the_same(request_: CreateMemory) -> None:
    sent = json.loads(json.dumps(unstructure(request_)))
    assert structure(sent, CreateMemory) == request_


@given(creations)
def test_the_schema_accepts_what_the_converter_accepts(request_: CreateMemory) -> None:
    jsonschema.validate(unstructure(request_), schema_of(CreateMemory))


def _outcome(arguments: dict[str, Any]) -> CreateMemory | InvalidField:
    try:
        return structure(arguments, CreateMemory)
    except InvalidField as refusal:
        return refusal


@given(st.dictionaries(st.sampled_from([field.name for field in attrs.fields(CreateMemory)]), json_values))
def test_the_converter_builds_an_object_or_names_a_field_and_never_fails_otherwise(arguments: dict[str, Any]) -> None:
    outcome = _outcome(arguments)
    if isinstance(outcome, InvalidField):
        assert outcome.name.split("[", 1)[0] in {field.name for field in attrs.fields(CreateMemory)}


@pytest.mark.parametrize("cls", [CreateMemory, CreateMemories, SearchMemories, ListMemories, UpdateMemory])
def test_every_schema_is_one(cls: type) -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of(cls))


def test_null_clears_what_may_be_empty_and_changes_nothing_else() -> None:
    memory_id = "01890a5d-ac96-774b-bcce-b302099a8057"
    assert clearable_fields(UpdateMemory) == set(CLEARABLE)
    names = [field.name for field in attrs.fields(UpdateMemory) if field.name != "memory_id"]
    request = structure({"memory_id": memory_id, **dict.fromkeys(names)}, UpdateMemory)
    assert request.given() == dict.fromkeys(CLEARABLE)
    assert structure({"memory_id": memory_id}, UpdateMemory).given() == {}


@given(st.fixed_dictionaries({}, optional={name: st.none() for name in CLEARABLE} | {"importance": st.floats(0, 1)}))
def test_what_is_cleared_goes_out_as_null_and_what_is_not_said_is_left_out(values: dict[str, Any]) -> None:
    request = UpdateMemory(memory_id="01890a5d-ac96-774b-bcce-b302099a8057", **values)
    assert unstructure(request) == {"memory_id": request.memory_id, **values}
    assert structure(unstructure(request), UpdateMemory) == request
    jsonschema.validate(unstructure(request), schema_of(UpdateMemory))


@pytest.mark.parametrize("name", CLEARABLE)
def test_a_value_that_may_be_empty_is_checked_as_any_other(name: str) -> None:
    wrong: list[Any] = ["", [], {}, True, -1, math.nan, "0001-01-01T00:00:00+09:00" if name.endswith("_at") else "\x00"]
    for value in wrong:
        with pytest.raises(InvalidField) as refusal:
            structure({"memory_id": "01890a5d-ac96-774b-bcce-b302099a8057", name: value}, UpdateMemory)
        assert refusal.value.field == name


@pytest.mark.parametrize(
    ("second", "field", "remedy"),
    [
        ({"content": "x", "importance": "a"}, "memories[1].importance", ""),
        ({"importance": 0.5}, "memories[1].content", "Required: content"),
        ({"content": "x", "sharedwith": []}, "memories[1].sharedwith", "Did you mean shared_with?"),
        ({"content": "x", "zzzzzzzz": []}, "memories[1].zzzzzzzz", "Known are: content, "),
    ],
)
def test_a_refusal_names_the_way_to_its_field_and_what_helps(second: dict[str, Any], field: str, remedy: str) -> None:
    with pytest.raises(InvalidField) as refusal:
        structure({"memories": [{"content": "x"}, second]}, CreateMemories)
    assert refusal.value.field == field
    assert refusal.value.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("value", "weight"),
    [
        ("abc", 3),
        (["ab", "c"], 35),
        ({"name": "ab"}, 22),
        ({"name": ["a", {"other": "bc"}]}, 76),
        ([7, None, True], 48),
        ([[], {}, [1]], 64),
    ],
)
def test_a_value_weighs_its_texts_and_names_and_as_much_again_for_each_thing_in_it(value: object, weight: int) -> None:
    assert outweighs(value, weight - 1)
    assert not outweighs(value, weight)


def test_no_more_is_weighed_than_tells_that_it_is_too_much() -> None:
    class Unread(dict[str, str]):
        def values(self) -> Any:
            raise AssertionError("read in vain")

    assert outweighs(Unread({"name": "x"}), 15)
    assert outweighs([Unread({"name": "x"}), "x" * 100], 50)
