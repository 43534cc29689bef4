"""The exit codes that stand for no kind of error."""

FAILURE = 1
USAGE = 2
INTERRUPTED = 130
"""What shells report for a process that SIGINT ended: 128 + 2."""
