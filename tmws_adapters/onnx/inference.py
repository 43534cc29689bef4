"""A loaded model: token windows in, vectors out. Importing this module imports onnxruntime, tokenizers and numpy."""

from collections.abc import Sequence
from typing import Any, Self

import attrs
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_state
from tokenizers import Tokenizer

from tmws_adapters.onnx.files import PART, ModelFile, ModelFiles
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.errors import EmbedderUnavailable

Window = list[int]
"""The token ids of one text, cut off at MAX_TOKENS."""

MAX_TOKENS = 256
"""Tokens of a text that reach the model, which was trained with as many; at 128 the session recall@10 on LoCoMo drops
from 0.60 to 0.55."""

READ = 8192
"""Characters of a text that are cut into tokens: MAX_TOKENS of them have 2,000 in English. The tokenizer holds the
interpreter's lock until it has read a text to its end, 60 ms for 64 KiB (measured)."""

_UNKNOWN = "[UNK]"
_KNOWN_LETTERS = 2

_NEEDED_INPUTS = {"input_ids", "attention_mask"}
_KNOWN_INPUTS = _NEEDED_INPUTS | {"token_type_ids"}

_RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    runtime_state.EPFail,
    runtime_state.Fail,
    runtime_state.InvalidArgument,
    runtime_state.InvalidGraph,
    runtime_state.InvalidProtobuf,
    runtime_state.NoModel,
    runtime_state.NoSuchFile,
    runtime_state.NotImplemented,
    runtime_state.RuntimeException,
)
"""What onnxruntime raises; they have no base of their own."""


@attrs.frozen(kw_only=True)
class LoadedModel:
    """A model in memory, usable by several threads at once."""

    identity: EmbeddingModel
    _encoder: "_Encoder"
    _tokenizer: Tokenizer

    @classmethod
    def load(cls, files: ModelFiles) -> Self:
        """Load a model and embed one word with it; ModelNotFound if its files are missing, damaged or no model."""
        digest = files.weights.digest()
        tokenizer = _tokenizer_of(files.tokenizer)
        encoder = _Encoder.load(files.weights, fused=files.fused)
        try:
            probe = encoder.vectors([tokenizer.encode("word").ids])[0]
        except EmbedderUnavailable as error:
            raise files.weights.unusable(f"makes no vectors: {error.reason}") from error
        identity = EmbeddingModel(name=files.name, dimension=probe.dimension, digest=digest)
        return cls(identity=identity, encoder=encoder, tokenizer=tokenizer)

    def windows(self, texts: Sequence[str]) -> list[Window]:
        """Return the tokens of each text."""
        # One by one: encode_batch would start a thread per core beside the threads that are counted.
        return [self._tokenizer.encode(text[:READ]).ids for text in texts]

    def familiarity(self, text: str) -> float:
        """Return the share of a text's letters that lie in known pieces of two letters or more.

        The pieces of a language that the model was trained on are words and syllables, those of another script are
        single characters or unknown. Mean of questions in English .99, Spanish .96, German .93; Russian .05, Japanese
        .01, Chinese, Korean, Thai .00.
        """
        encoded = self._tokenizer.encode(text[:READ], add_special_tokens=False)
        letters = known = 0
        for piece, (start, end) in zip(encoded.tokens, encoded.offsets, strict=True):
            count = sum(character.isalpha() for character in text[start:end])
            letters += count
            known += count if count >= _KNOWN_LETTERS and piece != _UNKNOWN else 0
        return known / letters if letters else 1.0

    def vector(self, text: str) -> Vector:
        """Embed one text."""
        return self.vectors(self.windows([text]))[0]

    def vectors(self, windows: Sequence[Window]) -> list[Vector]:
        """Embed windows in one run; the cost grows with their number times the longest of them."""
        return self._encoder.vectors(windows)


@attrs.frozen(kw_only=True)
class _Encoder:
    """The network and which of its inputs and outputs are used."""

    session: Any
    inputs: frozenset[str]
    output: str

    @classmethod
    def load(cls, weights: ModelFile, *, fused: bool) -> Self:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if fused else levels.ORT_ENABLE_BASIC
        options.enable_cpu_mem_arena = False  # the arena keeps the peak of the longest batch for ever
        onnxruntime.disable_telemetry_events()
        try:
            session = onnxruntime.InferenceSession(str(weights.path), options, providers=["CPUExecutionProvider"])
        except _RUNTIME_ERRORS as error:
            raise weights.unusable(f"cannot be loaded ({_first_line(error)})") from error
        inputs = frozenset(value.name for value in session.get_inputs())
        if not _NEEDED_INPUTS <= inputs <= _KNOWN_INPUTS:
            raise weights.unusable(f"is no text model: it takes {', '.join(sorted(inputs))}")
        outputs = [value.name for value in session.get_outputs()]
        output = "sentence_embedding" if "sentence_embedding" in outputs else outputs[0]
        return cls(session=session, inputs=inputs, output=output)

    def vectors(self, windows: Sequence[Window]) -> list[Vector]:
        ids = np.zeros((len(windows), max(map(len, windows))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        try:
            (values,) = self.session.run([self.output], {name: feeds[name] for name in self.inputs})
        except _RUNTIME_ERRORS as error:
            raise EmbedderUnavailable(part=PART, reason=f"the model failed ({_first_line(error)})") from error
        return _unit_vectors(_pooled(values.astype(np.float32, copy=False), mask))


def _pooled(values: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    match values.ndim:
        case 2:
            return values
        case 3:
            weights = mask.astype(np.float32)
            totals = np.einsum("btd,bt->bd", values, weights)
            return np.asarray(totals / np.maximum(weights.sum(axis=1, keepdims=True), 1), dtype=np.float32)
        case _:
            shape = list(values.shape)
            raise EmbedderUnavailable(
                part=PART, reason=f"the model's output has the shape {shape}, not that of vectors"
            )


def _unit_vectors(rows: NDArray[np.float32]) -> list[Vector]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise EmbedderUnavailable(part=PART, reason="the model made a vector that is zero or not finite")
    return [Vector(row.tobytes()) for row in (rows / norms).astype("<f4")]


def _tokenizer_of(file: ModelFile) -> Tokenizer:
    text = file.text()
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises the class Exception itself
        raise file.unusable(f"is no tokenizer ({_first_line(error)})") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
