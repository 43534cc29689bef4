"""What the fuzzers share: their time, secrets that must not come out, and an agent that must not see them.

`FUZZ_SECONDS` is the time of all of them together, and `FUZZ_SEED` what the first burst is made from: with the seed
that a failure names, the same burst comes first. Without either, each run is the same minute: a test that fails has
its cause in the change under test. A run that is given its time begins at random, and finds what is new.
"""

import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs

from tests.licences import UNLIMITED
from tests.stacks import stacked
from tmws_adapters.authentication import open_credentials
from tmws_adapters.bootstrap import compose, open_parts
from tmws_adapters.settings import load_settings

PARTS = 5
"""Fuzzers that share the time."""

SECONDS = float(os.environ.get("FUZZ_SECONDS", "60")) / PARTS

HANG = 60.0
"""Seconds after which something hangs."""

SECRET = "a secret key that signs the tokens of fuzzers"

CANARIES = [f"canary-{number:04d}-never-to-be-seen" for number in range(4)]

_INSIDE = re.compile(
    r"Traceback|File \"|\.py\b|site-packages|/(work|home|root|tmp|usr|var)/|sqlite3|SELECT .* FROM|INSERT INTO|FTS5"
    r"|cattrs|pydantic|orjson|starlette|uvicorn|<class |object at 0x|[A-Z]\w+Error\b(?! response)",
)
"""What only the inside of the server knows."""


@attrs.frozen
class World:
    """The settings of a server, and an agent's key to it; the agent may see none of the `hidden` memories."""

    home: Path
    settings: dict[str, str]
    key: str
    hidden: list[str]

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}


def bursts(seconds: float = SECONDS) -> Iterator[int]:
    """Return seeds until the time is up, at least one."""
    first = random.SystemRandom().randrange(2**31) if "FUZZ_SECONDS" in os.environ else 0
    seed = int(os.environ.get("FUZZ_SEED", first))
    end = time.monotonic() + seconds
    yield seed
    while time.monotonic() < end:
        seed += 1
        yield seed


def leaks(text: str, sent: str = "") -> list[str]:
    """Return what a text tells of the inside of the server, of its secrets or of other agents' memories.

    What was sent comes back in refusals and results: that is no leak.
    """
    found = [match.group() for match in _INSIDE.finditer(text)]
    found += [secret for secret in (SECRET, *CANARIES) if secret in text]
    return [each for each in found if each not in sent]


def prepare(home: Path) -> World:
    """Store the canaries, and give a stranger a key."""
    home.mkdir(parents=True)
    settings = {"TMWS_AUTH_ENABLED": "true", "TMWS_SECRET_KEY": SECRET, "TMWS_RATE_LIMIT_ENABLED": "false"}
    return anyio.run(_prepare, home, settings)


async def _prepare(home: Path, settings: dict[str, str]) -> World:
    loaded = load_settings(stacked({"TMWS_HOME": str(home), **UNLIMITED, **settings}), dotenv=None)
    async with open_parts(loaded) as parts, open_credentials(loaded, parts) as credentials:
        app, operator = compose(loaded, parts), loaded.operator()
        for agent, namespace in ("ann", "acme"), ("bob", "elsewhere"), ("stranger", "elsewhere"):
            await app.call_wire(operator, "register_agent", {"agent_id": agent, "namespace": namespace})
        hidden: list[dict[str, Any]] = [
            {"agent_id": "ann", "namespace": "acme", "access_level": "private"},
            {"agent_id": "ann", "namespace": "acme", "access_level": "team"},
            {"agent_id": "ann", "namespace": "acme", "access_level": "shared", "shared_with": ["bob"]},
            {"agent_id": "bob", "namespace": "elsewhere", "access_level": "private"},
        ]
        stored = [
            await app.call_wire(operator, "create_memory", {"content": f"{canary} {facts}", "tags": [canary], **facts})
            for canary, facts in zip(CANARIES, hidden, strict=True)
        ]
        key = await credentials.issue_key(operator, "stranger")
    return World(home, settings, key.text, [memory["memory_id"] for memory in stored])
