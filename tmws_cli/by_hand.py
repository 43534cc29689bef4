"""Where the commands are that stand for no operation."""

from importlib import import_module

import click

from tmws_cli.options import NOBODY, RECORDED, WHO, with_common_options

COMMANDS = {
    "audit": "tmws_cli.audit:audit",
    "completion": "tmws_cli.completing:completion",
    "db": "tmws_cli.database:database",
    "demo": "tmws_cli.admin:demo",
    "doctor": "tmws_cli.admin:doctor",
    "edit": "tmws_cli.editing:edit",
    "embeddings": "tmws_cli.embeddings:embeddings",
    "export": "tmws_cli.admin:export",
    "import": "tmws_cli.imports:import_",
    "index": "tmws_cli.index:index",
    "license": "tmws_cli.license:license_",
    "move": "tmws_cli.move:move",
    "serve": "tmws_cli.admin:serve",
    "stop": "tmws_cli.stopping:stop",
    "token": "tmws_cli.token:token",
}
"""By their names: the module, and the name in it."""

IN_GROUPS = {
    "agent": {"import": "tmws_cli.agents:import_agents"},
    "memory": {"edit": "tmws_cli.editing:edit"},
}
"""Those in the groups of operations."""

USES = {
    **dict.fromkeys(("audit", "edit", "embeddings", "token"), RECORDED),
    **dict.fromkeys(("doctor", "import", "serve"), WHO),
}
"""For which of them it matters in whose name they work; `doctor` shows it."""


def made(where: str) -> click.Command:
    """Return the command that is there."""
    module, _, name = where.partition(":")
    command: click.Command = getattr(import_module(module), name)
    return with_common_options(command, USES.get(command.name or "", NOBODY))
