"""The command line within the process of the tests: what a command does, without what it takes to start one."""

import gc
import io
import logging
import os
import sys
from unittest import mock

import attrs
import pytest

from tests.shells.command import Command, Done
from tmws_adapters.logs import NOISY
from tmws_cli import program


@attrs.frozen
class Inside(Command):
    """Runs `tmws` to its end like a process of its own, but for TZ and for what starts and interrupts a process.

    What is behind a prefix, a server, the start without arguments, and what is only started, are processes.
    """

    def run(self, *arguments: str, stdin: str | bytes = b"") -> Done:
        """Run with the environment, directory and streams that the process would have, and leave nothing of them."""
        if self.prefix or not arguments or "serve" in arguments:
            return super().run(*arguments, stdin=stdin)
        place, root = self._place(), logging.getLogger()
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        streams = {"stdin": io.BytesIO(raw), "stdout": io.BytesIO(), "stderr": io.BytesIO()}
        levels = {logger: logger.level for logger in (root, *map(logging.getLogger, NOISY))}
        with pytest.MonkeyPatch.context() as patch, mock.patch.dict(os.environ, place["env"], clear=True):
            patch.chdir(place["cwd"])
            for name, stream in streams.items():
                patch.setattr(sys, name, io.TextIOWrapper(stream, encoding="utf-8", write_through=True))
            patch.setattr(root, "handlers", [])
            for name in ("disable", "freeze"):  # which spare the end of a process its time
                patch.setattr(gc, name, lambda: None)
            try:
                code = program.run(arguments)
                return Done(code, streams["stdout"].getvalue().decode(), streams["stderr"].getvalue().decode())
            finally:
                for handler in root.handlers:
                    handler.close()
                for logger, level in levels.items():
                    logger.setLevel(level)
