"""The embedder that runs a model in this process; nothing is loaded before the first text."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from tmws_adapters.cancellation import in_thread
from tmws_adapters.onnx.files import PART, find_files, name_of
from tmws_adapters.quiet import silence
from tmws_core.domain.embedding import EmbeddingModel, Vector, prefixes_of
from tmws_core.errors import EmbedderUnavailable
from tmws_core.ports.embedder import Embedder, EmbedderHealth

if TYPE_CHECKING:
    from tmws_adapters.onnx.inference import LoadedModel, Window

THREADS = 2
"""Inferences of passages at once, each on one core, and as many of questions beside them: a question shares the
processors with passages, and never waits until they are done. Of one agent no more
calls than that are made at once (OWN_CALLS), so that whoever comes next waits for one inference of each."""

BATCH_TEXTS = 16
"""Texts of one inference: with 10 words each, a text costs 1.8 ms in a batch of 16 and 4.6 ms alone (measured)."""

BATCH_TOKENS = 1024
"""Tokens of one inference, padding included: above it a batch costs more than its texts one by one (76 against 46 ms
for 250 words, measured), and everyone else waits longer."""


@asynccontextmanager
async def open_onnx(model_dir: Path | None = None) -> AsyncIterator[Embedder]:
    """Open an embedder over the bundled all-MiniLM-L6-v2, or over the exported model in a folder.

    The folder holds `model.onnx` and `tokenizer.json`. The model takes `input_ids`, `attention_mask` and, if it likes,
    `token_type_ids`, and answers with pooled vectors or with those of the tokens, whose mean is taken. Its name is the
    folder's; where `e5` is a word of it, texts get the prefixes `query: ` and `passage: ` that e5 models need. Nothing
    is read before the first call.
    """
    yield _OnnxEmbedder(model_dir)


class _OnnxEmbedder:
    def __init__(self, model_dir: Path | None) -> None:
        self._model_dir = model_dir
        self._name = name_of(model_dir)
        self._prefixes = prefixes_of(self._name)
        self._passages = anyio.CapacityLimiter(THREADS)
        self._questions = anyio.CapacityLimiter(THREADS)
        self._loading = anyio.Lock()
        self._model: LoadedModel | None = None
        self._failure = ""

    @property
    def epoch(self) -> None:
        return None

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        if not texts:
            return []
        model = await self._loaded()
        if len(texts) == 1:  # a trip less, which is a wait less
            return [await in_thread(partial(model.vector, self._prefixes.passage + texts[0]), self._passages)]
        windows: list[Window] = []
        for start in range(0, len(texts), BATCH_TEXTS):
            chunk = [self._prefixes.passage + text for text in texts[start : start + BATCH_TEXTS]]
            windows += await in_thread(partial(model.windows, chunk), self._passages)
        vectors: dict[int, Vector] = {}
        for batch in _batches(windows):
            made = await in_thread(partial(model.vectors, [windows[index] for index in batch]), self._passages)
            vectors.update(zip(batch, made, strict=True))
        return [vectors[index] for index in range(len(texts))]

    async def query(self, text: str) -> Vector:
        model = await self._loaded()
        return await in_thread(partial(model.vector, self._prefixes.query + text), self._questions)

    async def familiarity(self, text: str) -> float:
        if self._model_dir is not None:  # its tokenizer may well cut a language that it knows into single characters
            return 1.0
        model = await self._loaded()
        return await in_thread(partial(model.familiarity, text), self._questions)

    async def model(self) -> EmbeddingModel:
        return (await self._loaded()).identity

    async def health(self) -> EmbedderHealth:
        reason = self._failure or await self._problem()
        return EmbedderHealth(kind="onnx", model=self._name, up=not reason, reason=reason)

    async def _problem(self) -> str:
        try:
            if self._model is None:
                await in_thread(partial(_check, self._model_dir), self._questions)
            elif self._questions.available_tokens:  # with all threads at work there is nothing to prove
                await self.query("word")
        except EmbedderUnavailable as error:
            return error.message
        return ""

    async def _loaded(self) -> "LoadedModel":
        async with self._loading:
            if self._model is None:
                try:
                    self._model = await in_thread(partial(_load, self._model_dir), self._questions)
                except EmbedderUnavailable as error:
                    self._failure = error.message
                    raise
                self._failure = ""
            return self._model


def _check(model_dir: Path | None) -> None:
    find_files(model_dir).check()


def _load(model_dir: Path | None) -> "LoadedModel":
    files = find_files(model_dir)
    silence()
    try:
        # These imports take 0.2 s: here they are paid in a worker thread, by those who embed.
        from tmws_adapters.onnx.inference import LoadedModel  # noqa: PLC0415 - see above
    except ImportError as error:
        raise EmbedderUnavailable(
            part=PART,
            reason=f"its libraries cannot be imported ({error})",
            hint="Run `pip install --force-reinstall onnxruntime tokenizers numpy`",
        ) from error
    return LoadedModel.load(files)


def _batches(windows: Sequence["Window"]) -> Iterator[list[int]]:
    """Yield the indexes of all windows, the short ones first, in batches within BATCH_TEXTS and BATCH_TOKENS."""
    batch: list[int] = []
    for index in sorted(range(len(windows)), key=lambda index: len(windows[index])):
        if batch and (len(batch) == BATCH_TEXTS or (len(batch) + 1) * len(windows[index]) > BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(index)
    yield batch
