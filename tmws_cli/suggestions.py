"""What somebody probably meant who typed a command that there is not."""

import difflib
import shlex
from collections.abc import Collection, Sequence

from tmws_cli.descriptions import described
from tmws_core.domain.nearest import WORDS

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
    "export": ("dump", "backup"),
    "import": ("load", "restore"),
}
"""What people and other programs call a command: the first words that are tried."""


def meant(words: Sequence[str], *, here: Collection[str], path: str) -> str:
    """Return the whole line that is probably meant, or the empty string; what follows the command only if it is short.

    `here` are the commands of the group at `path`, such as `tmws memory`. The first word may be the name of an
    operation as agents know it, such as `create_memory`.
    """
    command, rest = _meant(words[0], here=here, path=path), shlex.join(words[1:])
    return f"{command} {rest}" if command and 0 < len(rest) <= _REST else command


def _meant(word: str, *, here: Collection[str], path: str) -> str:
    spelt, program = word.lower().replace("-", "_"), path.partition(" ")[0]
    if len(word) > _LONGEST:
        return ""
    if spelt in described():
        return f"{program} {described()[spelt].group} {described()[spelt].command}"
    verb = spelt.partition("_")[0]
    known = {each: command for command, words in _VERBS.items() for each in (command.replace(" ", "_"), *words)}
    if verb in known:
        last = known[verb].rpartition(" ")[2]
        return f"{path} {last}" if last in here else f"{program} {known[verb]}"
    near = difflib.get_close_matches(spelt.replace("_", "-"), here, n=1)
    return f"{path} {near[0]}" if near else ""
