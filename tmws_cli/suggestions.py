"""What somebody probably meant who typed a command that there is not."""

import difflib
import shlex
from collections.abc import Collection, Mapping, Sequence

import click

from tmws_cli.descriptions import described
from tmws_core.domain.nearest import CLOSE, WORDS

_LONGEST = 40
"""Characters of a word that may be a mistyped command; the longest operation has 21."""

_REST = 200
"""Characters of what follows a command that are repeated with it."""

_VERBS = {
    "add": WORDS["create_memory"],
    "search": WORDS["search_memories"],
    "memory list": WORDS["list_memories"],
    "memory get": WORDS["get_memory"],
    "memory delete": WORDS["delete_memory"],
    "memory update": WORDS["update_memory"],
    "memory share": WORDS["share_memory"],
    "memory get-stats": WORDS["get_memory_stats"],
    "system health-check": WORDS["health_check"],
    "doctor": ("status", "check", "diagnose"),
    "edit": ("vi", "vim", "nano"),
    "serve": ("start", "server", "run", "http"),
    "stop": ("quit", "kill", "end", "shutdown"),
    "agent list": ("agents", "who"),
    "agent get-current": ("whoami",),
    "export": ("dump", "backup"),
    "import": ("load",),
}
"""What people and other programs call a command: the first words that are tried."""


_IN_GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "": {"memory share … --revoke": ("unshare",)},
    "memory": {"memory share … --revoke": ("unshare", "revoke")},
    "agent": {
        "agent register": WORDS["create_memory"],
        "agent update … --active": ("activate", "reactivate", "enable"),
    },
    "system": {"system health-check": (*WORDS["health_check"], "check")},
    "token": {"token issue": (*WORDS["create_memory"], "generate", "mint")},
}
"""What the words mean in a group, or without one; what was typed behind them stands for the ellipsis."""

_OF_MEMORIES = ("add", "search")
"""The commands that stand for one of the group `memory`."""

_CONNECTING = ("mcp", "stdio", "init", "setup", "install", "connect")
_CONNECTED = (
    " Nothing has to be set up: an agent is connected by giving its client the command `tmws`,"
    " such as `claude mcp add tmws -- tmws`."
)

_SETTINGS = "`tmws doctor` shows what is set and from which files: variables such as TMWS_HOME set it."

_NOT_HERE = {
    **dict.fromkeys(("config", "settings", "env"), _SETTINGS),
    "logs": "Each process logs to stderr, or to the file that TMWS_LOG_FILE names.",
    "reset": "`tmws memory delete` deletes one memory, and `--home` with a new directory begins anew.",
    "upgrade": "TMWS is upgraded as it was installed, such as with `uv tool upgrade tmws`.",
    "restore": "`tmws memory get … --include-history` has former texts, and `tmws memory update` sets one again.",
    "ui": "There is no graphical interface: see `tmws search` and `tmws memory list`.",
    "uninstall": "TMWS is removed as it was installed, such as with `uv tool uninstall tmws`, and leaves its data.",
}
"""What no command does, and what to do instead."""

_NAMED = 5
"""Namespaces that are named where another was asked for."""


def hint(words: Sequence[str], *, here: Collection[str], path: str) -> str:
    """Return a sentence that says what is probably meant, after a blank, or the empty string.

    `here` are the commands of the group at `path`, such as `tmws memory`. The first word may be the name of an
    operation as agents know it, such as `create_memory`. What follows the command is repeated only if it is short.
    """
    program, _, group = path.partition(" ")
    word, rest = words[0], shlex.join(words[1:])
    if not group and word.lower() in _CONNECTING:
        return _CONNECTED
    if word.lower() in _NOT_HERE:
        return f" {_NOT_HERE[word.lower()]}"
    command = "" if len(word) > _LONGEST else _meant(word.lower(), here=here, group=group)
    before, _, after = command.partition(" … ")
    line = " ".join(part for part in (program, before, rest if len(rest) <= _REST else "", after) if part)
    return f" Did you mean `{line}`?" if command else ""


def options_near(option: str, command: click.Command) -> list[str]:
    """Return the options that are shown in the help of a command and alike, without their dashes."""
    shown = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    names = {name.lstrip("-"): name for each in shown for name in (*each.opts, *each.secondary_opts)}
    return [names[near] for near in difflib.get_close_matches(option.lstrip("-"), names, n=1, cutoff=CLOSE)]


def namespaces_beside(namespace: str | None, counts: Mapping[str, int]) -> str:
    """Return a sentence that names the namespaces with memories, nearest first, after a blank.

    It is empty where no namespace was asked for, where that one has memories, and where there are none at all.
    """
    if namespace is None or namespace in counts or not counts:
        return ""
    near = sorted(counts, key=lambda each: -difflib.SequenceMatcher(None, namespace, each).ratio())
    more = ", …" if len(near) > _NAMED else ""
    return f" Namespaces with memories: {', '.join(near[:_NAMED])}{more}."


def _meant(word: str, *, here: Collection[str], group: str) -> str:
    spelt = word.replace("-", "_")
    if spelt in described():
        return f"{described()[spelt].group} {described()[spelt].command}"
    verb, within = spelt.partition("_")[0], f"{group} ".lstrip()
    for meanings in (_IN_GROUPS.get(group, {}), _VERBS):
        known = {each: command for command, names in meanings.items() for each in (command.replace(" ", "_"), *names)}
        if verb in known:
            return _of_group(known[verb], here=here, group=group)
    near = difflib.get_close_matches(word.replace("_", "-"), here, n=1, cutoff=CLOSE)
    # What one has before the other is often what turns the sense: `undelete`, `activate`.
    return f"{within}{near[0]}" if near and not (word.endswith(near[0]) or near[0].endswith(word)) else ""


def _of_group(command: str, *, here: Collection[str], group: str) -> str:
    """Return a command, that of the group which is called alike, or nothing where it belongs to another group."""
    last = command.rpartition(" ")[2]
    if group and last in here:
        return f"{group} {last}"
    belongs = not group or command.startswith(f"{group} ") or (group == "memory" and command in _OF_MEMORIES)
    return command if belongs else ""
