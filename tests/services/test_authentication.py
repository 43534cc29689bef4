"""Credentials are issued, checked and revoked over a real store."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import attrs
import pytest

from tests.contracts.builders import DAY
from tests.stacks import dumped, locked
from tmws_adapters.authentication import open_authentication, open_credentials
from tmws_adapters.bootstrap import Parts, open_parts
from tmws_adapters.settings import Settings
from tmws_core.domain.agent import ROLES, Agent, Caller, Role
from tmws_core.domain.credential import parsed_key
from tmws_core.errors import (
    AgentInactive,
    AgentNotFound,
    CredentialNotFound,
    InvalidField,
    StorageUnavailable,
    Unauthenticated,
)
from tmws_core.services.authentication import Attempt, Authentication
from tmws_core.services.credentials import LONGEST, Credentials

pytestmark = pytest.mark.anyio

ATTEMPT = Attempt(transport="rest", address="192.0.2.1")
HOUR = timedelta(hours=1)


@attrs.frozen
class World:
    """An open store with an active agent and one that was deactivated, and what issues and checks credentials."""

    parts: Parts
    credentials: Credentials
    authentication: Authentication
    operator: Caller

    async def key(self, agent_id: str = "ada", **more: Any) -> str:
        return (await self.credentials.issue_key(self.operator, agent_id, **more)).text

    async def refusal(self, credential: str) -> str:
        with pytest.raises(Unauthenticated) as caught:
            await self.authentication.caller(credential, ATTEMPT)
        return caught.value.problem


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    guarded = attrs.evolve(settings, auth_enabled=True, request_timeout=0.4)
    async with (
        open_parts(guarded) as parts,
        open_authentication(guarded, parts) as authentication,
        open_credentials(guarded, parts) as credentials,
    ):
        async with parts.storage.write() as unit:
            for agent_id, active in (("ada", True), ("old", False)):
                agent = Agent(
                    id=agent_id, namespace="acme", role=Role.READER, active=active, created_at=DAY, updated_at=DAY
                )
                await unit.agents.add(agent)
        assert authentication is not None
        yield World(parts, credentials, authentication, guarded.operator())


async def test_key_makes_its_agent_the_caller(world: World) -> None:
    assert await world.authentication.caller(await world.key(), ATTEMPT) == Caller(
        agent_id="ada",
        namespace="acme",
        permissions=ROLES[Role.READER],
        transport="rest",
        identified=True,
        registered=True,
    )


async def test_key_is_kept_as_a_digest_only(world: World, settings: Settings) -> None:
    key = await world.key(name="laptop")
    parsed = parsed_key(key)
    assert parsed is not None
    [stored] = await world.credentials.keys("ada")
    assert (stored.id, stored.digest, stored.name) == (parsed.id, parsed.digest, "laptop")
    secret = key.split("_")[2]
    files = dumped(settings)
    assert stored.id.encode() in files
    assert secret.encode() not in files
    assert bytes.fromhex(secret) not in files
    assert key not in repr(await world.credentials.issue_key(world.operator, "ada"))


async def test_two_keys_have_nothing_in_common(world: World) -> None:
    keys = [(await world.key()).split("_") for _ in range(20)]
    assert len({key[1] for key in keys}) == len({key[2] for key in keys}) == 20


@pytest.mark.parametrize("lifetime", [None, HOUR])
async def test_key_ends_when_it_was_to_end(world: World, lifetime: timedelta | None) -> None:
    key = await world.key(lifetime=lifetime)
    [stored] = await world.credentials.keys()
    assert stored.expires_at == (None if lifetime is None else stored.created_at + lifetime)
    await world.authentication.caller(key, ATTEMPT)
    assert await world.refusal(await world.key(lifetime=timedelta(0))) == "The API key has expired"


async def test_credentials_are_issued_to_active_agents_only(world: World) -> None:
    for agent_id, error in (("nobody", AgentNotFound), ("old", AgentInactive)):
        with pytest.raises(error):
            await world.credentials.issue_key(world.operator, agent_id)
        with pytest.raises(error):
            await world.credentials.issue_token(world.operator, agent_id, lifetime=HOUR)
    assert await world.credentials.keys() == []


async def test_token_is_good_for_its_lifetime(world: World) -> None:
    issued = await world.credentials.issue_token(world.operator, "ada", lifetime=HOUR)
    assert (await world.authentication.caller(issued.text, ATTEMPT)).agent_id == "ada"
    assert issued.text not in repr(issued)
    short = await world.credentials.issue_token(world.operator, "ada", lifetime=timedelta(0))
    assert await world.refusal(short.text) == "The token has expired"
    with pytest.raises(InvalidField):
        await world.credentials.issue_token(world.operator, "ada", lifetime=LONGEST + HOUR)


async def test_key_is_revoked_by_its_id_or_by_itself(world: World) -> None:
    for whole in (True, False):
        key = await world.key()
        key_id = key.split("_")[1]
        for _ in range(2):
            revoked = await world.credentials.revoke(world.operator, key if whole else key_id)
            assert (revoked.kind, revoked.id) == ("api-key", key_id)
        assert await world.refusal(key) == "The API key was revoked"


async def test_token_is_revoked_by_its_id_or_by_itself(world: World) -> None:
    for whole in (True, False):
        issued = await world.credentials.issue_token(world.operator, "ada", lifetime=HOUR)
        for _ in range(2):
            revoked = await world.credentials.revoke(world.operator, issued.text if whole else issued.id)
            assert (revoked.kind, revoked.id) == ("jwt", issued.id)
        assert await world.refusal(issued.text) == "The token was revoked"


@pytest.mark.parametrize("what", ["", "0" * 16, "nonsense", "0" * 15, "tmws_x", "ada", "' OR 1=1 --"])
async def test_what_is_no_credential_cannot_be_revoked(world: World, what: str) -> None:
    await world.key()
    with pytest.raises(CredentialNotFound):
        await world.credentials.revoke(world.operator, what)


async def test_token_that_is_not_good_needs_no_revocation(world: World) -> None:
    with pytest.raises(Unauthenticated, match="malformed"):
        await world.credentials.revoke(world.operator, "a.b.c")


async def test_last_use_is_stored_now_and_then_and_kept_while_the_store_is_locked(
    world: World, settings: Settings
) -> None:
    key = await world.key()
    await world.authentication.caller(key, ATTEMPT)
    assert [stored.last_used_at for stored in await world.credentials.keys()] == [None]
    with locked(settings, "api_keys"):
        await world.authentication.flush()
        with pytest.raises(StorageUnavailable):
            await world.key()
    await world.authentication.flush()
    [stored] = await world.credentials.keys()
    assert stored.last_used_at is not None
    assert stored.last_used_at >= stored.created_at
    await world.authentication.flush()
    assert await world.credentials.keys() == [stored]


async def test_refused_key_is_not_used(world: World) -> None:
    key = await world.key()
    await world.credentials.revoke(world.operator, key)
    await world.refusal(key)
    await world.authentication.flush()
    [stored] = await world.credentials.keys()
    assert stored.last_used_at is None


async def test_deactivated_agent_is_refused_with_all_it_has(world: World) -> None:
    key = await world.key()
    token = (await world.credentials.issue_token(world.operator, "ada", lifetime=HOUR)).text
    async with world.parts.storage.write() as unit:
        ada = await unit.agents.find("ada")
        assert ada is not None
        await unit.agents.replace(attrs.evolve(ada, active=False))
    for credential in (key, token):
        with pytest.raises(AgentInactive):
            await world.authentication.caller(credential, ATTEMPT)
