"""Seeds, and an embedder that costs next to nothing."""

import os
import random
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.ollama_double import OllamaDouble, ollama_double
from tests.services.conftest import word_counts

SEED = os.environ.get("TMWS_FAULT_SEED") or str(secrets.randbelow(2**32))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> str:
    """What all chance of one test comes from; it is shown where the test fails, and can be given again."""
    sys.stdout.write(f"TMWS_FAULT_SEED={SEED}\n")
    return f"{SEED} {request.node.name}"


@pytest.fixture
def chance(seed: str) -> random.Random:
    return random.Random(seed)


@pytest.fixture
def ollama() -> Iterator[OllamaDouble]:
    with ollama_double(model="word-counter", vectors=word_counts) as double:
        yield double


@pytest.fixture
def embedding(ollama: OllamaDouble) -> dict[str, str]:
    """The settings of a process that embeds with the double."""
    return {"TMWS_OLLAMA_BASE_URL": ollama.url, "TMWS_OLLAMA_MODEL": ollama.model}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data directory that does not hold anything yet."""
    path = tmp_path / "home"
    path.mkdir()
    return path
