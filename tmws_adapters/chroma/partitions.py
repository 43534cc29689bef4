"""Partitions, each a collection of Chroma; the methods block."""

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

import attrs
import numpy as np
from chromadb.api import ServerAPI
from chromadb.api.collection_configuration import CreateCollectionConfiguration
from chromadb.api.models.Collection import Collection
from chromadb.api.types import Embedding
from chromadb.errors import NotFoundError
from chromadb.types import Collection as Description

from tmws_adapters.chroma.errors import unusable
from tmws_adapters.chroma.parameters import HnswParameters
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.domain.ranking import Hit
from tmws_core.errors import IndexUnavailable
from tmws_core.ports.index import IndexChange

PAGE = 100
"""Collections listed at once."""

SAMPLE = 3
"""Vectors read from a partition before it is first used: without its files Chroma finds less and does not say so."""

_SIMILARITY_LOST = {"cosine": 1.0, "ip": 1.0, "l2": 0.5}
"""Similarity lost per unit of Chroma's distance, between vectors of norm 1; its `l2` is the square."""


@attrs.define(eq=False)
class Partitions:
    """The collections whose names begin with a prefix.

    The collection that is named as the prefix holds no vectors: its metadata name the model that the others are for.
    It is the first to go and the last to come in a reset, so that a reset that was interrupted shows.
    """

    _api: ServerAPI
    _prefix: str
    _parameters: HnswParameters
    _sampled: set[UUID] = attrs.field(factory=set, init=False)

    def apply(self, changes: Sequence[IndexChange]) -> None:
        """Make a batch of changes, of which the last one counts for each document of a partition."""
        model = self._model()
        last: dict[str, dict[int, Vector | None]] = {}
        for change in changes:
            last.setdefault(change.partition, {})[change.document] = change.vector
            if change.vector is not None:
                _check_dimension(model, change.vector)
        for partition, vectors in last.items():
            self._put(partition, vectors, model)

    def search(self, partitions: Sequence[str], query: Vector, limit: int) -> list[Hit]:
        """Return the nearest documents, best first."""
        similarities: dict[int, float] = {}
        for partition in dict.fromkeys(partitions):
            collection = self._find(partition)
            if collection is not None:
                _check_dimension(_model_in(collection.metadata), query)
                similarities.update(_nearest(collection, query, limit))
        hits = [Hit(document, similarity) for document, similarity in similarities.items()]
        return sorted(hits, key=lambda hit: (-hit.score, -hit.document))[:limit]

    def documents(self, partition: str) -> "array[int]":
        """Return the documents of a partition in ascending order."""
        collection = self._find(partition)
        return array("q", sorted(map(int, collection.get(include=[])["ids"])) if collection else ())

    def drop(self, partition: str) -> None:
        """Forget a partition."""
        if self._find(partition) is not None:
            self._delete(self._name(partition))

    def forget(self) -> bool:
        """Delete all partitions, and tell whether nobody has a collection here any more."""
        self._delete(self._prefix)
        for name in [description.name for _, description in self._all()]:
            self._delete(name)
        return self._api.count_collections() == 0

    def begin(self, model: EmbeddingModel) -> None:
        """Make the index one for vectors of `model`."""
        metadata = attrs.asdict(model)
        self._api.create_collection(self._prefix, metadata=metadata, configuration={"embedding_function": None})

    def counts(self) -> dict[str, int]:
        """Count the documents by partition."""
        return {partition: self._opened(description).count() for partition, description in self._all()}

    def model(self) -> EmbeddingModel | None:
        """Return the model that the index is for, or None if it was never begun."""
        try:
            return _model_in(self._api.get_collection(self._prefix).metadata)
        except NotFoundError:
            return None

    def _model(self) -> EmbeddingModel:
        model = self.model()
        if model is None:
            raise unusable("the index was never filled")
        return model

    def _put(self, partition: str, vectors: Mapping[int, Vector | None], model: EmbeddingModel) -> None:
        held = {str(document): _values(vector) for document, vector in vectors.items() if vector is not None}
        gone = [str(document) for document, vector in vectors.items() if vector is None]
        collection = self._find(partition)
        if collection is None and held:
            collection = self._create(partition, model)
        if collection is None:
            return
        if _model_in(collection.metadata) != model:
            raise _other_model(_model_in(collection.metadata), f"those of {model.name}")
        if held:
            collection.upsert(ids=list(held), embeddings=list(held.values()))
        if gone:
            collection.delete(ids=gone)

    def _create(self, partition: str, model: EmbeddingModel) -> Collection:
        configuration = CreateCollectionConfiguration(
            hnsw={
                "space": self._parameters.space,
                "max_neighbors": self._parameters.m,
                "ef_construction": self._parameters.ef_construction,
                "ef_search": self._parameters.breadth,
            },
            embedding_function=None,
        )
        metadata = attrs.asdict(model) | {"partition": partition, "space": self._parameters.space}
        name = self._name(partition)
        # Another process may create the same partition on the same server.
        return self._opened(
            self._api.create_collection(name, configuration=configuration, metadata=metadata, get_or_create=True)
        )

    def _find(self, partition: str) -> Collection | None:
        try:
            collection = self._opened(self._api.get_collection(self._name(partition)))
        except NotFoundError:
            self._model()
            return None
        if collection.id not in self._sampled:
            collection.get(limit=SAMPLE, include=["embeddings"])
            self._sampled.add(collection.id)
        return collection

    def _all(self) -> Iterator[tuple[str, Description]]:
        descriptions: list[Description] = []
        while page := self._api.list_collections(limit=PAGE, offset=len(descriptions)):
            descriptions += page
        for description in descriptions:
            partition = (description.metadata or {}).get("partition")
            if isinstance(partition, str) and description.name == self._name(partition):
                yield partition, description

    def _name(self, partition: str) -> str:
        return f"{self._prefix}-{hashlib.sha256(partition.encode()).hexdigest()[:20]}"

    def _opened(self, description: Description) -> Collection:
        # Without None, Chroma makes an embedding function of its own.
        return Collection(client=self._api, model=description, embedding_function=None)

    def _delete(self, name: str) -> None:
        try:
            self._api.delete_collection(name)
        except NotFoundError:
            return


def _nearest(collection: Collection, query: Vector, limit: int) -> list[tuple[int, float]]:
    found = _by_graph(collection, query, limit)
    # Nearly equal vectors can cut each other off from the graph (of 2,000, up to 43 % measured).
    if len(found) < limit and len(found) < (held := collection.count()):
        if held <= limit:
            return _every(collection, query)
        # Asked again, because documents may have come before they were counted.
        found = _by_graph(collection, query, limit)
        if len(found) < limit:
            raise unusable(f"a search for {limit} of {held} documents finds too few")
    return found


def _by_graph(collection: Collection, query: Vector, limit: int) -> list[tuple[int, float]]:
    answer = collection.query(query_embeddings=[_values(query)], n_results=limit, include=["distances"])
    lost = _SIMILARITY_LOST[str(collection.metadata["space"])]
    similarities = (1 - lost * distance for distance in (answer["distances"] or [[]])[0])
    return list(zip(map(int, answer["ids"][0]), similarities, strict=True))


def _every(collection: Collection, query: Vector) -> list[tuple[int, float]]:
    everything = collection.get(include=["embeddings"])
    similarities = np.asarray(everything["embeddings"], "<f4") @ _values(query)
    return list(zip(map(int, everything["ids"]), similarities.tolist(), strict=True))


def _values(vector: Vector) -> Embedding:
    values: Embedding = np.frombuffer(vector.data, "<f4")
    return values


def _model_in(metadata: Mapping[str, object] | None) -> EmbeddingModel:
    match metadata:
        case {"name": str(name), "dimension": int(dimension), "digest": str(digest), **others}:
            edition = others.get("edition")  # indexes from before editions have none
            return EmbeddingModel(
                name=name, dimension=dimension, digest=digest, edition=edition if isinstance(edition, int) else 1
            )
        case _:
            raise unusable("a collection does not name the model of its vectors")


def _check_dimension(model: EmbeddingModel, vector: Vector) -> None:
    if vector.dimension != model.dimension:
        raise _other_model(model, f"one of {vector.dimension} values")


def _other_model(model: EmbeddingModel, given: str) -> IndexUnavailable:
    return unusable(f"the index holds vectors of {model.name} with {model.dimension} values, not {given}")
