"""The locks of units of work, which make errors of serialisation impossible instead of repeating units.

A unit is the caller's own code, so it cannot be run again: transactions are READ COMMITTED, and what depends on what
was read is locked before it is read. The locks last until the transaction ends. They are taken in one order, so that no
two units wait for each other: registrations, all at once, the owners of the memories, all at once, what replaces what,
and then the number of seats.

A lock is taken along with the next statement that has an answer, which therefore sees what its former holder did.
"""

import binascii
from collections.abc import Iterable

from tmws_adapters.postgres.session import Session

OWNERS = 0x746D_7701
"""The class of the locks of agents: whoever holds one is alone in changing what the agent owns."""

AGENTS = 0x746D_7704
"""The class of the locks of registrations: of one agent, or of the number of all (SEATS)."""

SEATS = 0

MODELS = 0x746D_7702
"""The class of the locks of the embedding models, by the numbers that follow."""

ACTIVE, FIRST, MIGRATION, EMBEDDING = 1, 2, 3, 4
"""What the active model is: shared by all that write memories, alone for whoever changes it. Who names the first
model. Who changes the model: held by a transaction that lasts as long as the change. Who embeds what waits: held while
a batch is embedded."""

LONGEST_BATCH = 120
"""Seconds for which a process that embeds may say nothing before another one may do so. With Ollama 64 long texts take
a minute; if they take longer, two processes embed the same ones, and one of both in vain."""

PARTITIONS = 0x746D_7703
"""The class of the lock for making partitions."""

SUCCESSIONS = 0x746D_7705
"""The class of the lock of what replaces what: alone for whoever says so, shared by those that delete memories."""

CHECKPOINTS = 0x746D_7706
"""The class of the lock of the checkpoints of the audit log: alone for whoever signs or prunes it."""

_LOCK = """
    SELECT pg_advisory_xact_lock_shared(%(models)s, %(active)s),
        (SELECT count(pg_advisory_xact_lock(%(owners)s, key)) FROM unnest(%(keys)s::integer[]) AS key)
"""


_SHARE_AGENTS = """
    SELECT count(CASE WHEN key = ANY(%(alone)s::integer[]) THEN pg_advisory_xact_lock(%(agents)s, key)::text
        ELSE pg_advisory_xact_lock_shared(%(agents)s, key)::text END)
    FROM unnest(%(keys)s::integer[]) AS key
"""


def lock_owners(session: Session, agent_ids: Iterable[str]) -> None:
    """Keep everybody else from changing what these agents own, until the transaction ends."""
    keys = sorted({_key(agent_id) for agent_id in agent_ids} - session.locked)
    if keys:
        session.later(_LOCK, {"models": MODELS, "active": ACTIVE, "owners": OWNERS, "keys": keys})
        session.locked.update(keys)


def lock_successions(session: Session) -> None:
    """Keep everybody else from deleting memories, and from changing what replaces what, until the transaction ends."""
    session.later("SELECT pg_advisory_xact_lock(%s, 0)", (SUCCESSIONS,))


def share_successions(session: Session) -> None:
    """Let memories be deleted by others, but keep them from changing what replaces what, until the transaction ends."""
    session.later("SELECT pg_advisory_xact_lock_shared(%s, 0)", (SUCCESSIONS,))


def lock_models(session: Session, number: int) -> None:
    """Keep everybody else from doing what the number says, until the transaction ends."""
    session.later("SELECT pg_advisory_xact_lock(%s, %s)", (MODELS, number))


def share_models(session: Session) -> None:
    """Keep the active model what it is, until the transaction ends."""
    session.later("SELECT pg_advisory_xact_lock_shared(%s, %s)", (MODELS, ACTIVE))


async def try_to_hold(session: Session, number: int, silence: int) -> bool:
    """Keep everybody else from doing what the number says, until the transaction ends; False if another one does.

    The transaction may say nothing for `silence` seconds, 0 for ever, and it keeps no row from being vacuumed.
    """
    ((taken,),) = await session.rows("SELECT pg_try_advisory_xact_lock(%s, %s)", (MODELS, number))
    # The server keeps the snapshot of the last statement, as that may be read on: a SET has none.
    await session.run(f"SET LOCAL idle_in_transaction_session_timeout = '{silence}s'")
    return bool(taken)


def lock_checkpoints(session: Session) -> None:
    """Keep everybody else from signing and pruning the audit log, until the transaction ends."""
    session.later("SELECT pg_advisory_xact_lock(%s, 0)", (CHECKPOINTS,))


def lock_agent(session: Session, agent_id: str) -> None:
    """Keep everybody else from registering or changing an agent, until the transaction ends."""
    session.later("SELECT pg_advisory_xact_lock(%s, %s)", (AGENTS, _registration(agent_id)))


def share_agents(session: Session, agent_ids: Iterable[str], alone: Iterable[str]) -> None:
    """Keep everybody else from registering or changing agents, and from sharing those `alone`, until the end."""
    changing = {_registration(agent_id) for agent_id in alone}
    keys = sorted(changing | {_registration(agent_id) for agent_id in agent_ids})
    session.later(_SHARE_AGENTS, {"agents": AGENTS, "keys": keys, "alone": sorted(changing)})


def lock_seats(session: Session) -> None:
    """Keep everybody else from registering an agent that takes a seat, until the transaction ends."""
    session.later("SELECT pg_advisory_xact_lock(%s, %s)", (AGENTS, SEATS))


def _registration(agent_id: str) -> int:
    return _key(agent_id) or 1  # SEATS is another lock


def _key(agent_id: str) -> int:
    """Return a signed number of 32 bits; agents with the same one wait for each other without need."""
    return binascii.crc32(agent_id.encode()) - 2**31
