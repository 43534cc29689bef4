"""The audit log of the store that the settings name, and the keys that its checkpoints are signed with."""

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import attrs

from tmws_adapters.drafts import write_durably
from tmws_adapters.private import make_directory, read_own
from tmws_adapters.settings import Settings
from tmws_core.domain.chain import Checkpoint
from tmws_core.ports.signing import Signer
from tmws_core.ports.storage import Storage
from tmws_core.ports.system import Clock
from tmws_core.services.auditing import Auditing

PURPOSE = "audit checkpoint"
"""What the keys are derived from the secret for; another word would make all former checkpoints unverifiable."""

POSITIONS = "audit-signed.json"
"""The file in TMWS_HOME that holds the last signed position of each log, by the database that has the log."""

LOCK_SECONDS = 10.0
"""How long another process may write its position; it takes two writes to the disk."""

LOCK_POLL = 0.01

_SERVER = "postgresql://"

logger = logging.getLogger("tmws")


@attrs.frozen
class PositionFile:
    """A SignedPosition in a file beside those of other logs; `log` names this one.

    Older versions had a `former` name for it, and for no other log.
    """

    path: Path
    log: str
    former: str | None = None

    @property
    def where(self) -> str:
        """Tell the file."""
        return str(self.path)

    async def last(self) -> Checkpoint | None:
        """Return what was kept."""
        return await anyio.to_thread.run_sync(self._last)

    async def keep(self, checkpoint: Checkpoint) -> bool:
        """Keep a checkpoint, durably."""
        return await anyio.to_thread.run_sync(self._keep, checkpoint)

    def _last(self) -> Checkpoint | None:
        positions = self._read()
        kept = Checkpoint.of(positions.get(self.log) or positions.get(self.former or self.log))
        if kept is None and self.log.startswith(_SERVER) and any(_is_vague(name) for name in positions):
            logger.warning("⚠️ %s may hold a position of %s by a name that was not its alone", self.where, self.log)
        return kept

    def _read(self) -> dict[str, Any]:
        """Return all positions; what somebody else can have written is not believed."""
        try:
            positions = json.loads(read_own(str(self.path)))
        except (OSError, ValueError, RecursionError):
            return {}
        return positions if isinstance(positions, dict) else {}

    def _keep(self, checkpoint: Checkpoint) -> bool:
        if self._read().get(self.log) == checkpoint.told():
            return True
        try:
            make_directory(str(self.path.parent))
            with self._alone():
                positions = self._read() | {self.log: checkpoint.told()}
                write_durably(self.path, json.dumps(positions).encode())
        except OSError:
            return False
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process keep a position meanwhile: it would be written over, or that of this log.

        Raises:
            OSError: another one does for too long, or the file of the lock is not one.
        """
        try:
            from tmws_adapters.local.lock import take  # noqa: PLC0415 - Windows has none
        except ImportError:
            yield
            return
        deadline = time.monotonic() + LOCK_SECONDS
        while (lock := take(f"{self.path}.lock")) is None:
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(LOCK_POLL)
        try:
            yield
        finally:
            os.close(lock)


def auditing_of(settings: Settings, storage: Storage, clock: Clock) -> Auditing:
    """Return the audit log, which signs with TMWS_SECRET_KEY and knows what TMWS_SECRET_KEY_PREVIOUS has signed.

    The secret is asked for when there is something to sign or to check; ConfigurationError then if it is missing.
    """

    async def signers() -> Sequence[Signer]:
        return await anyio.to_thread.run_sync(_signers, settings)

    return Auditing(
        storage=storage,
        clock=clock,
        signers=signers,
        position=position_of(settings),
        audited=settings.audit_log_enabled,
    )


def position_of(settings: Settings) -> PositionFile:
    """Return where the signed position of the log of the store is kept."""
    return PositionFile(settings.home / POSITIONS, _name_of_log(settings), settings.former_name)


def _is_vague(name: str) -> bool:
    """Tell whether an older version named a database so, of which it knew neither user nor parameters."""
    return name.startswith(_SERVER) and not {"@", "?"} & {*name}


def _name_of_log(settings: Settings) -> str:
    """Return what names the database: without a password, and the same after TMWS_HOME was moved."""
    if settings.uses_postgres:
        return settings.store_name
    path, home = settings.sqlite_path.resolve(), settings.home.resolve()
    return str(path.relative_to(home) if path.is_relative_to(home) else path)


def _signers(settings: Settings) -> Sequence[Signer]:
    # They import cryptography, which takes 0.2 s.
    from tmws_adapters.secret import derived, secret_of  # noqa: PLC0415
    from tmws_adapters.signing import Ed25519Signer  # noqa: PLC0415

    secret = secret_of(settings.secret_key, settings.home, required=settings.environment == "production")
    former = [settings.secret_key_previous] if settings.secret_key_previous else []
    return [Ed25519Signer.of(derived(each, PURPOSE)) for each in (secret, *former)]
