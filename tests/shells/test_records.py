"""One memory of a file, ours or another program's: what is stored of it, and by what it is known again."""

from typing import Any

import pytest

from tests.shells.test_other_programs import CHAT, CHEESE, document, lines, memories, message, node, read
from tmws_cli.transfer.records import Continuation, Record, Skip, continuation_of, record_of
from tmws_core.errors import InvalidField

MOMENT = "2024-07-01T13:20:00Z"

OWN: dict[str, Any] = {
    "memory_id": "m1",
    "version": 3,
    "written_by": "ada",
    "created_at": MOMENT,
    "content": "Third.",
    "access_level": "shared",
    "shared_with": [{"agent_id": "ada", "permission": "read"}, {"agent_id": "bob", "permission": "write"}],
    "superseded_by": "m2",
    "history": [{"content": "First.", "version": 1}, {"content": "Second."}],
    "history_total": 3,
}


def record(fields: dict[str, Any], **more: Any) -> Record:
    return record_of("line 1", fields | more, ignore_unknown=False)


def key(**fields: Any) -> str | None:
    return record({"content": "x"}, **fields).request.idempotency_key


def test_a_line_of_an_export_is_a_memory_with_its_readers_texts_and_successor() -> None:
    read = record(OWN)
    assert (read.identity, read.superseded_by, read.writers) == ("m1", "m2", ("bob",))
    assert (read.request.content, read.former) == ("Third.", ("First.", "Second."))
    assert (read.request.shared_with, read.request.occurred_at) == (("ada", "bob"), None)
    assert [record(OWN, history_total=total).goes_on for total in (2, 3)] == [False, True]
    assert not record(OWN, history=[]).goes_on
    assert record(OWN, access_level="private").request.shared_with == ()
    assert record(OWN, shared_with=["agent_id"]).request.shared_with == ("agent_id",)
    assert record({"content": "x", "created_at": MOMENT}).request.occurred_at is not None


def test_what_has_an_id_is_known_again_by_it_and_its_text_and_other_things_by_all_that_is_said() -> None:
    named = key(memory_id="a")
    assert named == key(memory_id="a", importance=0.9) == key(id="a") == key(key="a", memory_id=None)
    assert len({named, key(memory_id="b"), key(memory_id="a", content="y"), key(memory_id="a", namespace="n")}) == 4
    assert len({key(), key(tags=["a"]), key(id=[1]), key(id=[2]), key(id={"a": 1})}) == 5
    assert key(tags=["a"], importance=0.9) == key(importance=0.9, tags=["a"])
    assert [record({"content": "x", "id": each}).identity for each in (7, [1], {"a": 1})] == ["7", None, None]
    given = record(OWN, idempotency_key="k")
    assert (given.request.idempotency_key, given.given_key, record(OWN).given_key) == ("k", True, False)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"content": "x", "created_at": "soon"}, "created_at"),
        ({"content": "x", "occurred_at": "soon", "created_at": "soon"}, "occurred_at"),
        ({"content": "x", "history": [{"content": ""}]}, "history"),
        ({"content": "x", "history": [{"content": 7}]}, "history"),
        ({"content": "x", "history": "Second."}, "history"),
        ({"content": "", "created_at": MOMENT}, "content"),
        ({"content": "x", "shared_with": [{"agent": "ada"}]}, "shared_with[0]"),
        ({"content": "x", "colour": "red"}, "colour"),
    ],
)
def test_what_is_no_memory_is_refused_by_the_name_that_the_file_has_for_it(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidField) as refusal:
        record(fields)
    assert refusal.value.field == name


def test_former_texts_that_follow_stand_with_nothing_else() -> None:
    former = {"history_of": "m1", "history": [{"content": "Fourth."}]}
    assert continuation_of("line 2", former) == Continuation(place="line 2", identity="m1", former=("Fourth.",))
    more: list[dict[str, Any]] = [{"history": []}, {"history_of": 1}, {"content": "x"}]
    for wrong in more:
        with pytest.raises(InvalidField, match="history_of"):
            continuation_of("line 2", former | wrong)


def test_an_entry_of_mem0_is_known_again_by_its_id_and_keeps_tags_of_its_own() -> None:
    tea, cheese = (memories(lines(CHEESE | {"memory": text, "tags": [text]}), "mem0")[0] for text in ("tea", "cheese"))
    assert tea.idempotency_key == cheese.idempotency_key
    assert (tea.tags, tea.metadata["categories"]) == (("tea",), ["food", "likes"])


def test_what_no_field_can_be_is_metadata_under_its_own_name() -> None:
    nested, plain = memories(lines(CHEESE | {"about": {"k": 1}}, CHEESE | {"metadata": "food"}), "mem0")
    assert (nested.metadata["about"], nested.metadata["topic"]) == ({"k": 1}, "food")
    assert plain.metadata["metadata"] == "food"


def test_chats_are_told_apart_by_their_ids_or_their_first_nodes() -> None:
    named = {"id": "c0ffee", "title": "Tea", "mapping": {"n": node(None, message("user", "Named."))}}
    first, second = ({"title": "Tea", "mapping": {name: node(None, message("user", name))}} for name in "ab")
    said = memories(document([named, first, second]), "ChatGPT")
    assert said[0].session_id == "chatgpt/c0ffee"
    assert len({each.session_id for each in said}) == 3


def test_a_chat_without_words_is_named_and_one_alone_is_a_chat() -> None:
    _, items = read(document([{"title": "No time", "mapping": {}}, {"mapping": 5}, CHAT]))
    assert items[:2] == [Skip(place=place, reason="holds no text") for place in ("entry 1", "entry 2")]
    assert len(memories(document(CHAT), "ChatGPT")) == 3


def test_a_chat_that_names_no_end_ends_with_its_last_leaf() -> None:
    mapping = {
        "b": node("a", message("assistant", "In the vault.")),
        "a": node(None, message("user", "Where are they?")) | {"children": ["b"]},
    }
    chat = memories(document([CHAT | {"current_node": None, "mapping": mapping}]), "ChatGPT")
    assert [each.content for each in chat] == ["Where are they?", "In the vault."]
