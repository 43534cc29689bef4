"""What may stand in the audit log, and the chain of its rows."""

import string
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tmws_core.domain.audit import DETAIL_CHARACTERS, REDACTED, AuditEvent, AuditRecord, Detail, redacted, redacted_text
from tmws_core.domain.chain import GENESIS, ChainEnd, breach_at, chained
from tmws_core.domain.credential import written_key

NOW = datetime(2026, 1, 31, tzinfo=UTC)

words = st.text(string.ascii_letters + string.digits + " .,/?!äß😀\n", max_size=40)
base64url = st.text(string.ascii_letters + string.digits + "-_", min_size=12, max_size=60)
hexadecimal = st.text("0123456789abcdef", min_size=16, max_size=16)
names = st.text(string.ascii_lowercase, min_size=1, max_size=12)

anything = st.text(st.characters())
"""Lone surrogates included."""

credentials = st.one_of(
    st.builds(written_key, hexadecimal, st.binary(min_size=32, max_size=32)),
    st.builds("eyJ{}.{}.{}".format, base64url, base64url, base64url),
    st.builds(
        "TMWS-{}-{}-{}-{:08X}".format,
        st.sampled_from(["FREE", "STANDARD", "ENTERPRISE", "GOLD"]),
        st.sampled_from(["PERPETUAL", "20301231"]),
        st.uuids(),
        st.integers(0, 2**32 - 1),
    ),
    st.builds("https://{}:{}@example.com/path".format, names, names),
    st.builds("Bearer {}".format, base64url),
)

records = st.builds(
    AuditRecord, st.integers(1, 2**62), words, words, words, words, st.one_of(st.none(), st.binary(max_size=33))
)


@given(words, credentials, words)
def test_what_looks_like_a_credential_is_redacted_wherever_it_stands(before: str, credential: str, after: str) -> None:
    assume(not before[-1:].isalnum() or not credential.startswith("Bearer"))
    assert redacted_text(before + credential + after) == REDACTED


@given(credentials)
def test_a_credential_behind_what_is_cut_off_is_not_cut_in_two(credential: str) -> None:
    for room in range(DETAIL_CHARACTERS - 20, DETAIL_CHARACTERS):
        assert credential[:12] not in redacted_text(" " * room + credential)


@given(names, st.sampled_from(["secret", "token", "key", "password", "authorization", "content", "query", "metadata"]))
def test_details_that_are_named_for_a_secret_or_a_content_are_redacted(other: str, hidden: str) -> None:
    for name in (hidden, f"{other}_{hidden}", f"{hidden}s", other + hidden.capitalize(), hidden.upper()):
        assert redacted({name: "value", f"{other}_{hidden}s": 7}) == {name: REDACTED, f"{other}_{hidden}s": REDACTED}


def test_ids_counts_and_names_stay() -> None:
    details: dict[str, Detail] = {
        "memory_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "key_id": "0123456789abcdef",
        "token_count": 3,
        "keyboard": "qwertz",
        "agent": "athena-conductor",
        "address": "2001:db8::1",
        "url": "https://example.com:8000/mcp",
        "ratio": 0.5,
        "allowed": True,
    }
    assert redacted(details) == details


@given(st.dictionaries(words, st.one_of(anything, st.integers(), st.booleans())), anything)
def test_every_event_can_be_stored_and_is_short(details: dict[str, Any], agent_id: str) -> None:
    event = AuditEvent(timestamp=NOW, event_type="x", agent_id=agent_id, details=details)
    for text in (event.agent_id, *(value for value in event.details.values() if isinstance(value, str))):
        assert len(text.encode()) <= 4 * DETAIL_CHARACTERS
    assert attrs.evolve(event) == event


@pytest.mark.parametrize("part", ["tmws_", "eyJ", "TMWS-AA-", "bearer ", "bearer" + " " * 30, "://a:", "://", "-----"])
def test_no_text_is_slow_to_look_through(part: str) -> None:
    long = part * (1_000_000 // len(part))
    started = datetime.now(UTC)  # noqa: TID251 - what is measured is real time
    redacted_text(long)
    assert (datetime.now(UTC) - started).total_seconds() < 2  # noqa: TID251 - as above


@given(records, st.binary(min_size=32, max_size=32))
def test_the_hash_of_a_row_is_another_one_after_any_change(record: AuditRecord, previous: bytes) -> None:
    original = chained(previous, record)
    assert len(original) == 32
    assert chained(GENESIS, record) != original or previous == GENESIS
    for name in ("timestamp", "event_type", "agent_id", "details"):
        for changed in (getattr(record, name) + "x", getattr(record, name)[:-1] + "\x00"):
            assert chained(previous, attrs.evolve(record, **{name: changed})) != original
    assert chained(previous, attrs.evolve(record, id=record.id + 1)) != original


@given(records)
def test_text_cannot_wander_from_one_column_to_the_next_unnoticed(record: AuditRecord) -> None:
    assume(record.event_type)
    moved = attrs.evolve(record, timestamp=record.timestamp + record.event_type[0], event_type=record.event_type[1:])
    assert chained(GENESIS, moved) != chained(GENESIS, record)


@given(records)
def test_a_row_follows_only_with_its_hash_and_a_gap_is_told(record: AuditRecord) -> None:
    before = ChainEnd(record.id - 1, GENESIS)
    whole = attrs.evolve(record, hash=chained(GENESIS, record))
    assert breach_at(before, whole) is None

    changed = breach_at(before, attrs.evolve(whole, details=whole.details + " "))
    gap = breach_at(ChainEnd(record.id - 2, b"another" * 4), whole)

    assert changed is not None
    assert gap is not None
    assert changed.id == record.id
    assert (gap.id, gap.reason) == (record.id - 1, "is missing")
