"""What every embedder does, over all of them, each through its production `open_*`."""

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.contracts.ollama_double import MODEL, ollama_double
from tmws_adapters.ollama import open_ollama
from tmws_adapters.onnx import open_onnx
from tmws_adapters.onnx.files import find_files
from tmws_core.domain.embedding import Vector
from tmws_core.ports.embedder import Embedder

pytestmark = pytest.mark.anyio

SENTENCES = [
    "The deployment runs on Tuesdays after the backup.",
    "ok",
    "Ein Satz mit Umlauten: Größe, Äpfel, Übermut.",
    "日本語の文章を一つ保存します。",
    "我们昨天更换了数据库。",
    "한국어 문장도 저장합니다.",
    "مرحبا بالعالم",
    "🚀🔥 shipped it 👩‍💻",
    "def add(a, b):\n\treturn a + b\n",
    "https://example.org/?q=1&r=%20",
]


def rows(vectors: Sequence[Vector]) -> NDArray[np.float32]:
    return np.array([np.frombuffer(vector.data, dtype="<f4") for vector in vectors])


def closeness(one: Sequence[Vector], other: Sequence[Vector]) -> float:
    """Return the smallest cosine between vectors at the same place."""
    assert len(one) == len(other)
    return float((rows(one) * rows(other)).sum(axis=1).min())


@pytest.fixture(scope="module", params=["onnx bundled", "onnx folder", "ollama modern", "ollama older"])
async def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Embedder]:
    async with AsyncExitStack() as stack:
        match request.param:
            case "onnx bundled":
                opening = open_onnx()
            case "onnx folder":
                opening = open_onnx(copy_of_bundled(tmp_path_factory.mktemp("model")))
            case kind:
                double = stack.enter_context(ollama_double(modern=kind == "ollama modern"))
                opening = open_ollama(double.url, MODEL)
        yield await stack.enter_async_context(opening)


def copy_of_bundled(folder: Path) -> Path:
    files = find_files(None)
    shutil.copy(files.weights.path, folder / "model.onnx")
    shutil.copy(files.tokenizer.path, folder / "tokenizer.json")
    return folder


async def test_embedder_that_has_loaded_nothing_yet_is_up(embedder: Embedder) -> None:
    health = await embedder.health()
    assert health.up, health.reason
    assert health.kind in ("onnx", "ollama")


async def test_passages_come_back_in_the_order_of_their_texts(embedder: Embedder) -> None:
    texts = [f"{'very ' * (37 * number % 50)}long note number {number}" for number in range(50)]
    together = await embedder.passages(texts)
    alone = [(await embedder.passages([text]))[0] for text in texts]
    assert closeness(together, alone) > 0.999
    similarities = rows(together) @ rows(alone).T
    assert [int(best) for best in similarities.argmax(axis=1)] == list(range(50))


async def test_every_vector_has_norm_one_and_the_dimension_of_the_model(embedder: Embedder) -> None:
    model = await embedder.model()
    vectors = [*await embedder.passages(SENTENCES), await embedder.query("When does the deployment run?")]
    assert {vector.dimension for vector in vectors} == {model.dimension}
    assert np.linalg.norm(rows(vectors), axis=1) == pytest.approx(1, abs=1e-5)


async def test_different_texts_have_different_vectors(embedder: Embedder) -> None:
    vectors = await embedder.passages(SENTENCES)
    assert len({vector.data for vector in vectors}) == len(SENTENCES)


async def test_one_text_has_the_same_vector_in_any_batch(embedder: Embedder) -> None:
    first = (await embedder.passages([*SENTENCES, "long " * 300]))[0]
    last = (await embedder.passages([SENTENCES[1], SENTENCES[0]]))[-1]
    assert closeness([first], [last]) > 0.999


async def test_text_beyond_the_window_is_cut_off(embedder: Embedder) -> None:
    vectors = await embedder.passages(["The quick brown fox jumps over the lazy dog. " * 1400, "short"])
    assert [vector.dimension for vector in vectors] == [(await embedder.model()).dimension] * 2


async def test_no_texts_have_no_vectors(embedder: Embedder) -> None:
    assert await embedder.passages([]) == []


async def test_concurrent_calls_get_their_own_vectors(embedder: Embedder) -> None:
    answers: dict[str, list[Vector]] = {}

    async def ask(text: str) -> None:
        answers[text] = await embedder.passages([text, "the same for all"])

    async with anyio.create_task_group() as group:
        for text in SENTENCES:
            group.start_soon(ask, text)
    expected = await embedder.passages([*SENTENCES, "the same for all"])
    assert closeness([answers[text][0] for text in SENTENCES], expected[:-1]) > 0.999
    assert closeness([answers[text][1] for text in SENTENCES], [expected[-1]] * len(SENTENCES)) > 0.999


async def test_cancelled_call_leaves_the_embedder_usable(embedder: Embedder) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await embedder.passages(SENTENCES)
    assert scope.cancelled_caught
    assert len(await embedder.passages(SENTENCES)) == len(SENTENCES)


async def test_model_keeps_its_identity(embedder: Embedder) -> None:
    model = await embedder.model()
    assert model == await embedder.model()
    assert len(model.digest) == 64
    assert model.name == (await embedder.health()).model
    assert (embedder.epoch is None) is ((await embedder.health()).kind == "onnx")


async def test_embedder_at_work_is_up(embedder: Embedder) -> None:
    await embedder.query("anything")
    health = await embedder.health()
    assert (health.up, health.reason) == (True, "")
