"""The files in which Chroma keeps the vectors of a collection."""

import struct
from pathlib import Path

from tmws_adapters.chroma.errors import damaged
from tmws_adapters.private import read_regular

_HEADER = struct.Struct("<i6Q")
"""The beginning of `header.bin`: version, offset, room, elements, bytes of an element, two more offsets."""

_VERSION = 1
"""The only version that chromadb 1.5 writes; files of another one are left to Chroma's own checks."""


def check_segments(directory: Path) -> None:
    """Raise IndexDamaged if files of vectors are shorter than they say; Chroma would end the process over them."""
    for header in directory.glob("*/header.bin"):
        segment = header.parent
        try:
            begin = read_regular(str(header), _HEADER.size)
            if len(begin) < _HEADER.size:
                raise damaged(f"{header} is cut off")
            version, _, _, elements, element_bytes, _, _ = _HEADER.unpack(begin)
            expected = {"data_level0.bin": elements * element_bytes, "length.bin": elements * 4}
            if version == _VERSION and any((segment / name).stat().st_size < size for name, size in expected.items()):
                raise damaged(f"the files in {segment} are cut off")
        except OSError as error:
            raise damaged(f"{segment} cannot be read ({error.strerror})") from error
