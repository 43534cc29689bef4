"""Files that somebody has named: read whole, within a bound, and never waited for."""

from pathlib import Path

from tmws_adapters.private import Unfit, read_regular
from tmws_core.errors import InvalidField, RequestTooLarge


def regular_file(path: Path, most: int, name: str = "file") -> bytes:
    """Return what is in a regular file; a pipe could let its reader wait for ever, and a device has no end.

    Raises:
        InvalidField: it is no regular file; `name` is that of the argument.
        RequestTooLarge: it has more than `most` bytes.
        OSError: it cannot be read.
    """
    try:
        raw = read_regular(str(path), most + 1)
    except Unfit as error:
        raise InvalidField(name=name, reason=error.reason, hint="Name a file that holds everything") from None
    if len(raw) > most:
        raise RequestTooLarge(limit=most)
    return raw
