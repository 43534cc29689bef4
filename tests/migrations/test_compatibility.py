"""This version on the schema of a version to come: it goes on where that says that it may, and refuses otherwise."""

from pathlib import Path

import pytest

from tests.contracts.builders import EVERYTHING, memory, new, vector
from tests.contracts.steps import get, store
from tests.contracts.stores import open_at
from tests.migrations.places import FUTURE, LATER, differences, downgraded, go, raw, standing, upgraded, write_future
from tmws_adapters.migrations import HEAD
from tmws_core.errors import NoFormerSchema, SchemaDirty, SchemaTooNew

pytestmark = pytest.mark.anyio

USABLE_FROM = "0011"
"""The oldest revision whose program may use the newest schema."""


async def test_a_schema_that_only_adds_is_used_by_the_version_before(place: str, tmp_path: Path) -> None:
    old, another = memory(), memory()
    async with open_at(place) as opened:
        await store(opened.storage, new(old, vector=vector(1, 0, 0, 0)))
    go(place, FUTURE, future=write_future(tmp_path, HEAD))

    async with open_at(place) as opened:
        await store(opened.storage, new(another, vector=vector(0, 1, 0, 0)))
        assert (await get(opened.storage, old.id)).content == old.content
        async with opened.storage.write() as unit:
            await unit.changes.delete(await unit.memories.get(another.id, EVERYTHING))
        assert (await opened.storage.health()).version == FUTURE
        assert await opened.storage.integrity() == []
    assert standing(place).state == "newer"


async def test_a_schema_that_needs_a_newer_version_is_refused_with_a_remedy(place: str, tmp_path: Path) -> None:
    upgraded(place)
    go(place, FUTURE, future=write_future(tmp_path, FUTURE))

    with pytest.raises(SchemaTooNew, match=f"revision {FUTURE}, which can be used from {FUTURE} on") as raised:
        async with open_at(place):
            pass

    assert f"knows {HEAD}" in raised.value.problem
    assert "tmws db downgrade" in raised.value.remedy
    with pytest.raises(SchemaTooNew):
        differences(place)


async def test_one_strict_revision_counts_for_all_that_follow_it(place: str, tmp_path: Path) -> None:
    upgraded(place)
    go(place, LATER, future=write_future(tmp_path, FUTURE, HEAD))

    assert standing(place).usable_from == FUTURE
    with pytest.raises(SchemaTooNew):
        async with open_at(place):
            pass


async def test_the_newer_version_can_take_its_revision_back_for_the_older_one(place: str, tmp_path: Path) -> None:
    upgraded(place)
    future = write_future(tmp_path, FUTURE)
    go(place, FUTURE, future=future)

    go(place, HEAD, future=future)

    assert (standing(place).state, standing(place).usable_from) == ("current", USABLE_FROM)
    async with open_at(place) as opened:
        await store(opened.storage, new(memory()))


def test_the_older_version_cannot_take_back_what_it_does_not_know(place: str, tmp_path: Path) -> None:
    upgraded(place)
    go(place, FUTURE, future=write_future(tmp_path, HEAD))

    with pytest.raises(NoFormerSchema, match="newer version's"):
        downgraded(place)


def test_an_upgrade_of_a_newer_schema_that_may_be_used_changes_nothing(place: str, tmp_path: Path) -> None:
    upgraded(place)
    go(place, FUTURE, future=write_future(tmp_path, HEAD))

    done = upgraded(place)

    assert (done.before, done.after, done.backup) == (FUTURE, FUTURE, None)


def test_the_mark_of_another_revision_does_not_count(place: str) -> None:
    upgraded(place)
    with raw(place) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(SchemaTooNew):
        upgraded(place)


@pytest.mark.parametrize("revision", ["0000", "not one"])
def test_a_revision_that_there_never_was_is_told(place: str, revision: str) -> None:
    upgraded(place)
    with raw(place) as connection:
        connection.execute(f"UPDATE alembic_version SET version_num = '{revision}'")

    with pytest.raises(SchemaDirty, match=f"revision '{revision}', which there never was") as raised:
        upgraded(place)
    assert raised.value.remedy
    with pytest.raises(SchemaDirty):
        downgraded(place)


def test_each_revision_marks_the_database_with_itself_unless_it_says_more(place: str) -> None:
    for revision, mark in (("0001", "0001"), ("0006", "0006"), (HEAD, USABLE_FROM)):
        go(place, revision)
        assert standing(place).usable_from == mark


def test_the_first_revision_and_no_schema_at_all_cannot_be_taken_back(place: str) -> None:
    with pytest.raises(NoFormerSchema, match="no schema yet"):
        downgraded(place)
    go(place, "0001")

    with pytest.raises(NoFormerSchema, match="0001 is the first one"):
        downgraded(place)
