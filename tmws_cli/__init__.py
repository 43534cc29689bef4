"""The command line: every operation as a command, and what only the owner of a machine does."""
