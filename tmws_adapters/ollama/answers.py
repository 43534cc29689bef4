"""What Ollama's answers mean: vectors, a digest, or an error that names the remedy."""

import math
import struct
from typing import Any

import httpx

from tmws_core.domain.embedding import Vector
from tmws_core.errors import EmbedderUnavailable, EmbeddingRefused, ModelNotFound

PART = "ollama"

UNREACHABLE_REMEDY = "Start it with `ollama serve`, or check TMWS_OLLAMA_BASE_URL"

_FOREIGN_REMEDY = "Check that TMWS_OLLAMA_BASE_URL leads to Ollama itself, and update Ollama"
_MODEL_REMEDY = "Check that TMWS_OLLAMA_MODEL names an embedding model"
_LOG_REMEDY = "See the log of `ollama serve`"

_REMEDIES = {
    400: _MODEL_REMEDY,
    401: "Check the name and password in TMWS_OLLAMA_BASE_URL",
    403: "Check the name and password in TMWS_OLLAMA_BASE_URL, and OLLAMA_ORIGINS on the server",
    503: "Try again, or raise OLLAMA_MAX_QUEUE and OLLAMA_NUM_PARALLEL on the server",
}
"""What to do about a status, where the server's log would not say more."""

_ABOUT_THE_TEXT = {400, 500}
"""Statuses by which a server that works refuses a text: older ones answer 500 where the embedding holds NaN."""

_WORDS = 300
"""Characters of a server's error that are passed on."""


class RouteMissing(EmbedderUnavailable):
    """The server does not know the route: it is older than the route, or no Ollama."""


class AnswerLate(EmbedderUnavailable):
    """The answer did not come in time."""


def json_in(response: httpx.Response, model: str) -> dict[str, Any]:
    """Return the object in an answer; raise the error that it stands for instead."""
    if response.status_code != httpx.codes.OK:
        raise _refusal(response, model)
    found = _object_in(response)
    if found is None:
        raise EmbedderUnavailable(part=PART, reason="the answer is no JSON object", hint=_FOREIGN_REMEDY)
    return found


def vectors_in(rows: object, expected: int) -> list[Vector]:
    """Return one vector of norm 1 for each row; raise EmbedderUnavailable unless they are `expected` alike vectors."""
    if not isinstance(rows, list):
        raise _unusable("the answer holds no embeddings")
    if len(rows) != expected:
        raise _unusable(f"the answer holds {len(rows)} embeddings for {expected} texts")
    vectors = [_vector(row) for row in rows]
    dimensions = sorted({vector.dimension for vector in vectors})
    if len(dimensions) > 1:
        raise _unusable(f"the answer mixes embeddings of {' and '.join(map(str, dimensions))} values")
    return vectors


def digest_in(tags: dict[str, Any], model: str) -> str | None:
    """Return the digest of a model in the list of pulled ones, "" if it is listed without, None if it is not listed."""
    listed = tags.get("models")
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and _same_model(entry.get("name"), model):
            digest = entry.get("digest")
            return digest if isinstance(digest, str) else ""
    return None


def not_pulled(model: str) -> ModelNotFound:
    """Return the error for a model that the server does not have."""
    return ModelNotFound(part=PART, reason=f"the model {model} is not pulled", hint=f"Run `ollama pull {model}`")


def wrong_dimension(expected: int, found: int) -> EmbedderUnavailable:
    """Return the error for a model that changed under its name."""
    return EmbedderUnavailable(
        part=PART,
        reason=f"the embeddings have {found} values, those before had {expected}",
        hint="Pull the former model again, or run `tmws embeddings migrate` to change to the new one",
    )


def _refusal(response: httpx.Response, model: str) -> EmbedderUnavailable:
    status = response.status_code
    words = (_object_in(response) or {}).get("error")
    if status == httpx.codes.NOT_FOUND:
        if isinstance(words, str):
            return not_pulled(model)
        reason = f"the server does not know {response.request.url.path}"
        return RouteMissing(part=PART, reason=reason, hint=_FOREIGN_REMEDY)
    told = f": {words[:_WORDS]}" if isinstance(words, str) else ""
    error = EmbeddingRefused if status in _ABOUT_THE_TEXT else EmbedderUnavailable
    return error(part=PART, reason=f"the server answered {status}{told}", hint=_REMEDIES.get(status, _LOG_REMEDY))


def _object_in(response: httpx.Response) -> dict[str, Any] | None:
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _vector(values: object) -> Vector:
    if not isinstance(values, list) or not values:
        raise _unusable("the answer holds an empty embedding")
    try:
        norm = math.hypot(*values)
        if norm == 0 or not math.isfinite(norm):
            raise _unusable("the answer holds an embedding that is zero or not finite")
        return Vector(struct.pack(f"<{len(values)}f", *(value / norm for value in values)))
    except (TypeError, OverflowError) as error:
        raise _unusable("the answer holds an embedding with something else than numbers") from error


def _same_model(listed: object, model: str) -> bool:
    return isinstance(listed, str) and listed.removesuffix(":latest") == model.removesuffix(":latest")


def _unusable(reason: str) -> EmbeddingRefused:
    return EmbeddingRefused(part=PART, reason=reason, hint=_MODEL_REMEDY)
