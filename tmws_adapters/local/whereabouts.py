"""Where a process is: in which network, and among which processes, of which machine.

A volume may be that of several containers, or come over a network to several hosts. A lock on it holds for all of them,
while 127.0.0.1 and the id of a process mean something else in each.
"""

import os

BOOT = "/proc/sys/kernel/random/boot_id"
"""What a Linux kernel calls itself from its start to its end; it is the same in all containers that it runs."""

_BOOT_BYTES = 64


def network() -> str:
    """Return what only those processes say of themselves too that reach the same 127.0.0.1."""
    return _in_namespace("net")


def processes() -> str:
    """Return what only those processes say of themselves too for which the same ids are the same processes."""
    return _in_namespace("pid")


def _in_namespace(kind: str) -> str:
    """Name the machine, and on Linux the namespace on it: the inode is what tells it (namespaces(7))."""
    try:
        descriptor = os.open(BOOT, os.O_RDONLY)
        try:
            machine = os.read(descriptor, _BOOT_BYTES).decode("ascii", "replace").strip()
        finally:
            os.close(descriptor)
        return f"{machine} {os.stat(f'/proc/self/ns/{kind}').st_ino}"
    except OSError:  # another system, or a sandbox without /proc
        return os.uname().nodename
