"""Between the shell and the program: the exit codes that stand for no kind of error, and a question."""

FAILURE = 1
USAGE = 2
INTERRUPTED = 130
"""What shells report for a process that SIGINT ended: 128 + 2."""

COMPLETING = "_TMWS_COMPLETE"
"""The variable by which a shell asks what comes next, as click's scripts set it."""
