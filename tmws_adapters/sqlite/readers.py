"""Who may read a memory, as words of its lexical entry, so that a search in a small scope reads few entries.

They narrow only: every hit is held against the members of the scope as well, so neither a collision nor a stale word
shows anything to anybody.
"""

import hashlib

from tmws_core.domain.access import Scope
from tmws_core.domain.memory import AccessLevel, Memory

_HASH_DIGITS = 12


def words_of(memory: Memory) -> str:
    """Return what an entry says about its memory: its owner, its namespace, and whom its access level lets in."""
    words = [_word("owner", memory.agent_id), _word("namespace", memory.namespace)]
    match memory.access_level:
        case AccessLevel.PRIVATE:
            pass
        case AccessLevel.TEAM:
            words.append(_word("team", memory.namespace))
        case AccessLevel.SHARED:
            words += [_word("shared", share.agent_id) for share in memory.shared_with]
        case AccessLevel.PUBLIC | AccessLevel.SYSTEM:
            words.append(_word("open", ""))
    return " ".join(words)


def words_for(scope: Scope) -> list[list[str]]:
    """Return what entries of a scope say: at least one word of each list."""
    wanted = []
    if not scope.visibility.everything:
        agent_id, namespace = scope.visibility.agent_id, scope.visibility.namespace
        wanted.append(
            [_word("owner", agent_id), _word("team", namespace), _word("shared", agent_id), _word("open", "")]
        )
    if scope.filter.namespace is not None:
        wanted.append([_word("namespace", scope.filter.namespace)])
    if scope.filter.agent_id is not None:
        wanted.append([_word("owner", scope.filter.agent_id)])
    return wanted


def _word(relation: str, name: str) -> str:
    return relation[0] + hashlib.sha256(f"{relation} {name}".encode()).hexdigest()[:_HASH_DIGITS]
