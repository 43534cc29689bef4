"""A schema that is not what its revision makes is found, and nothing else is complained about."""

from collections.abc import Sequence

import pytest

from tests.contracts.builders import memory, new, vector
from tests.contracts.steps import get, store
from tests.contracts.stores import open_at
from tests.migrations.places import REVISIONS, differences, go, is_server, raw, upgraded
from tmws_adapters.migrations import HEAD
from tmws_core.domain.embedding import Canary, EmbeddingModel
from tmws_core.errors import SchemaDirty

pytestmark = pytest.mark.anyio

EITHER = (
    ("DROP INDEX memories_v2_text", "index memories_v2.memories_v2_text is missing"),
    ("DROP TABLE license_clock", "table license_clock is missing"),
    ("ALTER TABLE agents DROP COLUMN description", "column agents.description is missing"),
    ("ALTER TABLE agents ADD COLUMN colour text", "column agents.colour does not belong there"),
)
FILE = (
    ("DROP TRIGGER memories_v2_lost", "trigger memories_v2.memories_v2_lost is missing"),
    (
        "CREATE TRIGGER mine AFTER INSERT ON agents BEGIN SELECT 1; END",
        "trigger agents.mine does not belong there",
    ),
)
SERVER = (
    ("DROP TRIGGER memories_v2_lost ON memories_v2", "trigger memories_v2.memories_v2_lost is missing"),
    ("DROP POLICY memories_v2_0 ON memories_v2", "policy memories_v2.memories_v2_0 is missing"),
    ("ALTER TABLE memories_v2 DISABLE ROW LEVEL SECURITY", "table memories_v2 is not as it should be"),
    ("ALTER TABLE api_keys ALTER COLUMN name TYPE varchar(9)", "column api_keys.name is not as it should be"),
    (
        "ALTER TABLE memory_shares DROP CONSTRAINT memory_shares_pkey",
        "constraint memory_shares.memory_shares_pkey is missing",
    ),
    (
        "CREATE OR REPLACE FUNCTION memories_v2_gained() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "function memories_v2_gained is not as it should be",
    ),
)


def problems(place: str) -> list[str]:
    return [each.problem for each in differences(place)]


def edit(place: str, statement: str) -> None:
    with raw(place) as connection:
        connection.execute(statement)


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_revision_is_what_its_revision_makes(place: str, revision: str) -> None:
    go(place, revision)

    assert problems(place) == []


def test_each_change_by_hand_is_found_and_named(place: str) -> None:
    upgraded(place)
    changes: Sequence[tuple[str, str]] = EITHER + (SERVER if is_server(place) else FILE)
    for statement, _ in changes:
        edit(place, statement)

    assert sorted(problems(place)) == sorted(problem for _, problem in changes)


def test_what_is_missing_is_told_with_its_definition(place: str) -> None:
    upgraded(place)
    edit(place, "DROP INDEX memories_v2_text")

    (difference,) = differences(place)

    assert difference.found is None
    assert difference.expected is not None
    assert difference.expected.startswith("CREATE INDEX memories_v2_text ON")


def test_tables_and_indexes_of_somebody_else_disturb_nobody(place: str) -> None:
    upgraded(place)
    edit(place, "CREATE TABLE reports (id integer)")
    edit(place, "CREATE INDEX agents_namespace ON agents (namespace)")

    assert problems(place) == []


def test_a_comparison_leaves_nothing_behind(place: str) -> None:
    upgraded(place)
    differences(place)

    if is_server(place):
        with raw(place) as connection:
            schemas = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tmws%'"
            assert connection.execute(schemas).fetchall() == []
    assert problems(place) == []


async def test_a_store_in_use_that_has_changed_its_model_is_as_it_should_be(place: str) -> None:
    async with open_at(place) as opened:
        stored = memory()
        await store(opened.storage, new(stored, vector=vector(1, 0, 0, 0)))
        document = (await get(opened.storage, stored.id)).document
        other = EmbeddingModel(name="tests/two", dimension=2, digest="d2")
        async with opened.models.migration() as migration:
            await migration.begin(other, Canary(text="a canary", vector=vector(0, 1)))
            await migration.prepare({document: vector(0, 1)})
            assert await migration.switch(0)

    assert problems(place) == []


def test_a_revision_number_that_was_set_by_hand_is_found(place: str) -> None:
    go(place, "0003")
    edit(place, f"UPDATE alembic_version SET version_num = '{HEAD}'")

    assert "table api_keys is missing" in problems(place)


def test_a_half_applied_revision_is_found_and_stops_the_upgrade(place: str) -> None:
    go(place, "0003")
    edit(place, "CREATE TABLE license_clock (id integer)")
    edit(place, "ALTER TABLE agents ADD COLUMN role text")

    assert problems(place) == ["column agents.role does not belong there"]
    with pytest.raises(SchemaDirty, match="not what revision 0003 is"):
        upgraded(place)
    assert problems(place) == ["column agents.role does not belong there"]
