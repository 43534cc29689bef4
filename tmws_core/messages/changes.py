"""What requests make of memories: pure, so that a unit of work can apply it to what it has just read."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import attrs

from tmws_core.domain.access import may_manage, may_write
from tmws_core.domain.agent import Caller, Permission
from tmws_core.domain.memory import REPLACED, SHARES, SUCCESSORS, AccessLevel, Memory, Share
from tmws_core.errors import Forbidden, InvalidField, VersionConflict
from tmws_core.messages.memory import ShareMemory, UpdateMemory
from tmws_core.ports.storage import Relinked

_ENDS = {"expires_at": "change when this memory expires", "superseded_by": "change what replaces this memory"}
"""Fields by which a memory goes out of force, and what changing them is."""


def check_update(request: UpdateMemory) -> None:
    """Refuse an update that changes nothing, or that replaces a memory by itself."""
    if not request.given():
        raise InvalidField(name="arguments", reason="change nothing", hint="Give at least one field to change")
    if request.superseded_by == request.memory_id:
        raise InvalidField(name="superseded_by", reason="is the memory itself", hint="Name the memory that replaces it")


def check_change(acting: Caller, memory: Memory, request: UpdateMemory) -> None:
    """Refuse a change that the caller has no right to, or that was made for another version."""
    if not may_write(acting, memory):
        raise Forbidden(
            action="change this memory", needs="its owner, a share with write permission or an administrator"
        )
    if request.access_level not in (None, memory.access_level):
        if not may_manage(acting, memory):
            raise Forbidden(action="change who sees this memory", needs="its owner", name="access_level")
        if request.access_level is AccessLevel.SYSTEM and not acting.may(Permission.ADMINISTER):
            raise Forbidden(action="write system memories", needs="an administrator", name="access_level")
    _check_publication(acting, memory, request)
    _check_end(acting, memory, request)
    if request.expected_version not in (None, memory.version):
        raise VersionConflict(memory_id=memory.id, expected=request.expected_version, actual=memory.version)


def _check_publication(acting: Caller, memory: Memory, request: UpdateMemory) -> None:
    """Refuse to tell a team anything that the caller does not belong to any more; to withdraw is free."""
    if not _is_elsewhere(acting, request.access_level or memory.access_level, memory.namespace):
        return
    told = sorted(name for name, value in request.given().items() if not _withdraws(memory, name, value))
    if told:
        raise Forbidden(
            action=f"write to the namespace {memory.namespace}",
            needs="membership of it; delete the memory, or make it private",
            name=told[0],
        )


def check_return(acting: Caller, relinked: Iterable[Relinked]) -> None:
    """Refuse to bring own memories back, by deleting what has replaced them, to a team that the caller has left."""
    for each in relinked:
        own = each.agent_id == acting.agent_id and not each.superseded
        if own and _is_elsewhere(acting, each.access_level, each.namespace):
            raise Forbidden(
                action=f"bring the memory {each.id} back to the namespace {each.namespace}",
                needs="membership of it; delete that memory, or make it private, before what has replaced it",
            )


def _is_elsewhere(acting: Caller, level: AccessLevel, namespace: str) -> bool:
    """Tell whether a memory is read by a team to which the caller has nothing to tell."""
    foreign = namespace != acting.namespace and not acting.manages(namespace)
    return level is AccessLevel.TEAM and foreign and not acting.may(Permission.ANY_NAMESPACE)


def _withdraws(memory: Memory, name: str, value: Any) -> bool:
    """Tell whether a change of one field does nothing but let a memory go out of force, or go earlier."""
    if name not in _ENDS:
        return False
    former = getattr(memory, name)
    return value == former or (value is not None and (former is None or (name == "expires_at" and value < former)))


def check_successor(memory: Memory, successors: Collection[str]) -> None:
    """Refuse a successor that this memory has replaced, by itself or by what came between them, or may have.

    There are SUCCESSORS of `successors` where nobody has looked what comes behind them.
    """
    if memory.id in successors:
        raise InvalidField(
            name="superseded_by",
            reason="has been replaced by this memory",
            hint="Name a memory that is in force, or first clear the superseded_by of the one you named",
        )
    if len(successors) >= SUCCESSORS:
        raise InvalidField(
            name="superseded_by",
            reason=f"has been replaced {SUCCESSORS} times, each time by another memory",
            hint="Name a memory that is in force",
        )


def check_replaced(number: int) -> None:
    """Refuse a successor that so many memories of the same owner name already."""
    if number >= REPLACED:
        raise InvalidField(
            name="superseded_by",
            reason=f"has replaced {REPLACED} memories already",
            hint="Name another memory, such as one that this one is replaced by in turn",
        )


def check_relinked(number: int) -> None:
    """Refuse a deletion that makes so many memories of its owner name the deleted one's successor."""
    if number > REPLACED:
        raise InvalidField(
            name="memory_id",
            reason=f"has replaced so many memories that its successor would replace more than {REPLACED}",
            hint="Clear its superseded_by first: deleting it then brings back what it has replaced",
        )


def _check_end(acting: Caller, memory: Memory, request: UpdateMemory) -> None:
    """Refuse to let a memory end, or come back, to whoever may not delete it: nobody finds what has ended."""
    given = request.given()
    for name, action in _ENDS.items():
        if given.get(name, getattr(memory, name)) != getattr(memory, name) and not may_manage(acting, memory):
            raise Forbidden(action=action, needs="its owner or an administrator", name=name)


def changed(former: Memory, request: UpdateMemory, writer: Caller, now: datetime, *, embedded: bool) -> Memory:
    """Return the memory after the update; `embedded` tells whether a new text, or a new date, has its vector.

    A memory that is replaced once more has been replaced since the first time.
    """
    memory = attrs.evolve(
        former,
        **request.given(),
        written_by=writer.agent_id,
        transport=writer.transport,
        updated_at=max(now, former.updated_at),
        version=former.version + 1,
    )
    return attrs.evolve(
        memory,
        superseded_at=None if memory.superseded_by is None else former.superseded_at or memory.updated_at,
        embedded=former.embedded if memory.embedded_by == former.embedded_by else embedded,
    )


def shared(former: Memory, request: ShareMemory, writer: Caller, now: datetime) -> Memory:
    """Return the memory after the change of its list; InvalidField if its access level has no use for a list."""
    if former.access_level not in (AccessLevel.PRIVATE, AccessLevel.SHARED):
        raise InvalidField(
            name="memory_id",
            reason=f"the memory is {former.access_level.value}, so a list of agents has no meaning",
            hint="Set its access_level to shared with update_memory first",
        )
    listed = {share.agent_id: share for share in former.shared_with}
    for agent_id in request.shared_with:
        if request.revoke:
            listed.pop(agent_id, None)
        else:
            listed[agent_id] = Share(agent_id, request.permission)
    if len(listed) > SHARES:
        raise InvalidField(
            name="shared_with", reason=f"makes {len(listed)} agents", hint=f"At most {SHARES} are allowed"
        )
    return attrs.evolve(
        former,
        # Nobody is let in by taking somebody from the list, of which a private memory may still have one.
        access_level=former.access_level if request.revoke else AccessLevel.SHARED,
        shared_with=tuple(listed.values()),
        written_by=writer.agent_id,
        transport=writer.transport,
        updated_at=max(now, former.updated_at),
        version=former.version + 1,
    )
