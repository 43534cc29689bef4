"""Who may read a memory, as words: in its row, where they decide, and among its postings, where they save work.

No word of a text has a colon in it.
"""

from collections.abc import Iterable

from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.memory import AccessLevel, Memory

OPEN = "open:"

ALL = "all:"
"""The word of every memory, by which the program itself reads, and a caller that reads everything."""


def audience_of(memory: Memory) -> list[str]:
    """Return the words of those who may read a memory."""
    words = [f"agent:{memory.agent_id}"]
    match memory.access_level:
        case AccessLevel.PRIVATE:
            pass
        case AccessLevel.TEAM:
            words.append(f"team:{memory.namespace}")
        case AccessLevel.SHARED:
            words += [f"agent:{share.agent_id}" for share in memory.shared_with]
        case AccessLevel.PUBLIC | AccessLevel.SYSTEM:
            words.append(OPEN)
    return list(dict.fromkeys(words))


def owned_by(agent_ids: Iterable[str]) -> list[str]:
    """Return the words by which what these agents own is changed."""
    return [f"agent:{agent_id}" for agent_id in sorted(set(agent_ids))]


def audience_for(visibility: Visibility) -> list[str]:
    """Return the words by which a caller reads."""
    if visibility.everything:
        return [ALL]
    return [f"agent:{visibility.agent_id}", f"team:{visibility.namespace}", OPEN]


def readers_of(memory: Memory) -> list[str]:
    """Return what the postings say of a memory: its audience, its owner, and its namespace."""
    return [*audience_of(memory), f"owner:{memory.agent_id}", f"namespace:{memory.namespace}"]


def readers_for(scope: Scope) -> list[list[str]]:
    """Return what the postings say of the memories in a scope: at least one word of each list."""
    wanted = [] if scope.visibility.everything else [audience_for(scope.visibility)]
    if scope.filter.namespace is not None:
        wanted.append([f"namespace:{scope.filter.namespace}"])
    if scope.filter.agent_id is not None:
        wanted.append([f"owner:{scope.filter.agent_id}"])
    return wanted
