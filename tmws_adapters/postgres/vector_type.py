"""The type `vector` of pgvector, as psycopg sends and reads it: float32 in network order behind a header of 4 bytes."""

import struct
from array import array
from typing import Any

import psycopg
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.pq import Format
from psycopg.types import TypeInfo

from tmws_core.domain.embedding import Vector

_HEADER = struct.Struct(">HH")


class _VectorDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Vector) -> bytes:
        return _HEADER.pack(obj.dimension, 0) + _swapped(obj.data)


class _VectorLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> Vector:
        return Vector(_swapped(bytes(data)[_HEADER.size :]))


async def register(connection: "psycopg.AsyncConnection[Any]") -> None:
    """Teach a connection the type, where the database has it."""
    info = await TypeInfo.fetch(connection, "vector")
    if info is not None:
        dumper = type("VectorDumper", (_VectorDumper,), {"oid": info.oid})
        connection.adapters.register_dumper(Vector, dumper)
        connection.adapters.register_loader(info.oid, _VectorLoader)


def _swapped(data: bytes) -> bytes:
    """Return float32 values with the other order of bytes: `Vector` holds them little-endian."""
    values = array("I", data)
    values.byteswap()
    return values.tobytes()
