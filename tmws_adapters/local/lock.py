"""The lock of an owner; the kernel frees it when its process ends, however it ends."""

import fcntl
import os

from tmws_adapters.private import open_regular


def take(path: str) -> int | None:
    """Return the descriptor that holds the lock for as long as it is open, or None while another process holds it.

    Raises:
        OSError: the file cannot be created, or is no regular one.
    """
    descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_taken(path: str) -> bool:
    """Tell whether a process holds the lock; nothing is created.

    Raises:
        OSError: the file cannot be opened, or is no regular one.
    """
    try:
        descriptor = open_regular(path, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
