"""Every way of reading, walked by one caller through one world, each answer held against the policy."""

import io
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from random import Random
from typing import Any, cast

import attrs
import mcp_types as types
import orjson
from mcp.shared.exceptions import MCPError

from tests.contracts.builders import NOON
from tests.contracts.test_scope import inside
from tests.services.worlds import NAMESPACES, NOWHERE, World
from tmws_cli.transfer.exporting import Export
from tmws_core.app import App
from tmws_core.domain.access import Scope, knows, knows_whole, may_manage, may_write, visibility_of
from tmws_core.domain.agent import ROLES, Caller, Permission
from tmws_core.domain.memory import AccessLevel, Memory, MemoryFilter, MemoryType
from tmws_core.errors import TmwsError
from tmws_mcp.failure import error_body
from tmws_mcp.resources import Resources
from tmws_mcp.tools import Context

SECRETS = re.compile(r"(?:new)?secret\d+x")
IDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"tags_any": ["red", "green"]},
    {"tags_all": ["red"], "memory_type": "semantic"},
    {"session_id": "s1"},
    {"include_expired": True},
    *({"namespace": namespace} for namespace in NAMESPACES),
    *({"agent_id": f"agent{number}"} for number in range(0, 10, 3)),
)

AS_OF = ({"as_of": "2026-01-31T00:00:30Z"}, {"as_of": "2026-01-31T00:01:30Z"})
"""Before anything was replaced or written anew, and between the two."""


@attrs.frozen
class Request:
    """What a resource reads of the context of its request."""

    protocol_version: str = "2025-11-25"


@attrs.define(kw_only=True)
class Walk:
    """One caller's way through a world.

    `cases` counts, by path, the memories that an answer was checked for; `sources` are where vectors were searched.
    """

    world: World
    caller: Caller
    cases: Counter[str]
    random: Random
    known: set[str] = attrs.Factory(set)
    sources: set[str] = attrs.Factory(set)

    @property
    def policy(self) -> Caller:
        return self.world.as_registered(self.caller)

    async def ask(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Return an answer or an error, in which nothing stands that the caller neither sees nor has said itself."""
        try:
            answer = await self.world.app.call_wire(self.caller, name, arguments)
        except TmwsError as error:
            answer = error_body(error, with_facts=True)
        self.check_silence(answer, arguments, self.known)
        return answer

    def check_silence(self, answer: object, said: object, seen: set[str]) -> None:
        text, own = orjson.dumps(answer).decode(), orjson.dumps(said).decode()
        words = {word for memory_id in seen if memory_id in self.world.stored for word in self.words(memory_id)}
        assert self.world.stored.keys() & set(IDS.findall(text)) <= seen | set(IDS.findall(own)), (said, answer)
        assert set(SECRETS.findall(text)) <= words | set(SECRETS.findall(own)), (said, answer)

    def words(self, memory_id: str) -> frozenset[str]:
        return self.world.stored[memory_id].words

    def agree(self, path: str, found: set[str], expected: set[str]) -> None:
        """Count a case a memory, and fail where the path and the policy do not agree about one."""
        assert found == expected, (path, self.caller, found ^ expected)
        self.cases[path] += len(self.world.stored)

    def in_force(self, filters: Mapping[str, Any]) -> set[str]:
        """Return what a list or a search of this caller has to return."""
        as_of = filters.get("as_of")
        wanted = {name: _typed(name, value) for name, value in filters.items() if name != "as_of"}
        scope = Scope(
            visibility=visibility_of(self.policy),
            filter=MemoryFilter(**wanted),
            at=NOON if as_of is None else datetime.fromisoformat(as_of),
            historic=as_of is not None,
        )
        return {each.id for each in self.world.memories if inside(scope, each)}

    async def pages(self, name: str, field: str, **arguments: Any) -> AsyncIterator[list[dict[str, Any]]]:
        while True:
            answer = await self.ask(name, **arguments)
            self.sources.add(answer.get("search_source", ""))
            yield answer[field]
            if "next_cursor" not in answer:
                return
            arguments["cursor"] = answer["next_cursor"]

    async def run(self) -> None:
        self.known = self.world.seen_by(self.caller)
        await self.gets()
        await self.lists()
        await self.searches()
        await self.counts()
        await self.resources()
        await self.exports()
        await self.explanations()
        await self.agents()
        await self.changes()

    async def gets(self) -> None:
        missing = await self.ask("get_memory", memory_id=NOWHERE)
        found = set()
        for memory in self.world.memories:
            answer = await self.ask("get_memory", memory_id=memory.id, include_history=True)
            if answer.get("success"):
                found.add(memory.id)
                self.check_view(answer["memory"], memory)
                assert len(answer["history"]) == memory.version - 1
            else:
                assert renamed(answer, memory.id) == missing
        self.agree("get_memory", found, self.known)

    def check_view(self, view: dict[str, Any], memory: Memory) -> None:
        """Check what the view of a visible memory says of other memories and of other agents."""
        assert view["content"] == memory.content
        assert ("shared_with" in view) == (bool(memory.shared_with) and may_manage(self.policy, memory))
        replaced_by = memory.superseded_by
        gone = replaced_by == NOWHERE and may_manage(self.policy, memory)
        told = gone or replaced_by in self.known or self.policy.may(Permission.READ_ALL)
        assert view.get("superseded_by") == (replaced_by if told else None)

    async def lists(self) -> None:
        for oldest_first in (False, True):
            whole = {"include_superseded": True, "include_expired": True, "details": True}
            pages = self.pages("list_memories", "memories", limit=17, oldest_first=oldest_first, **whole)
            ids = [view["memory_id"] async for page in pages for view in page]
            assert ids == sorted(ids, reverse=not oldest_first)
            self.agree("list_memories", set(ids), self.known)
            assert len(ids) == len(set(ids))
        for filters in FILTERS:
            listed = [page async for page in self.pages("list_memories", "memories", limit=9, **filters)]
            assert all(len(page) == 9 for page in listed[:-1]), "a page is short"
            found = {view["memory_id"] for page in listed for view in page}
            self.agree("list_memories, filtered", found, self.in_force(filters))

    async def searches(self) -> None:
        embedded = {each.id for each in self.world.memories if each.embedded}
        variants = [FILTERS[0], *self.random.sample(FILTERS[1:], 3), *AS_OF]
        for filters in variants:
            for mode in ("lexical", "semantic", "hybrid"):
                expected = self.in_force(filters) & embedded if mode == "semantic" else self.in_force(filters)
                arguments = {"query": "vault", "mode": mode, "explain": True, "details": True, "limit": 30, **filters}
                pages = self.pages("search_memories", "results", **arguments)
                ids = [hit["memory_id"] async for page in pages for hit in page]
                assert len(ids) == len(set(ids))
                self.agree(f"search_memories, {mode}", set(ids), expected)
        for memory in self.random.sample(self.world.memories, 10):
            [word] = SECRETS.findall(memory.content)
            answer = await self.ask("search_memories", query=word, mode="lexical", limit=100)
            found = {hit["memory_id"] for hit in answer["results"]}
            assert (memory.id in found) == (memory.id in self.in_force({}))
            # The turns behind it in its session have lent its words, so they are found by them, too.
            assert found <= (self.in_force({}) if memory.id in self.known else set())

    async def counts(self) -> None:
        visible = [each for each in self.world.memories if each.id in self.known]
        stats = await self.ask("get_memory_stats")
        by_type = Counter(each.memory_type.value for each in visible)
        by_level = Counter(each.access_level.value for each in visible)
        by_namespace = Counter(each.namespace for each in visible)
        assert (stats["total"], stats["embedded"]) == (len(visible), sum(each.embedded for each in visible))
        assert (stats["by_type"], stats["by_access_level"], stats["by_namespace"]) == (by_type, by_level, by_namespace)
        self.cases["get_memory_stats"] += len(self.world.stored)
        system = await self.ask("get_system_stats")
        assert system["memories"] == len(visible)
        if not self.policy.may(Permission.ADMINISTER):
            assert system["unembedded"] == sum(not each.embedded for each in visible)
            assert not {"agents", "bytes_on_disk"} & system.keys()
            assert not system["index"]
            assert not system["operations"]
            health = await self.ask("health_check")
            assert not any("lag" in component for component in health["components"].values())
        self.cases["get_system_stats"] += len(self.world.stored)

    async def resources(self) -> None:
        async def opened() -> App:
            return self.world.app

        context = cast("Context", Request())
        resources = Resources(app=opened, caller_of=lambda _: self.caller)
        listed = {each.name for each in (await resources.page(context, None)).resources}
        self.agree("resources/list", listed, set(sorted(self.in_force({}), reverse=True)[:20]))
        found, refusals = set(), set()
        for memory in self.world.memories:
            params = types.ReadResourceRequestParams(uri=f"memory://{memory.id}")
            try:
                [read] = (await resources.read(context, params)).contents
            except MCPError as error:
                refusals.add(orjson.dumps(renamed(error.error.model_dump(), memory.id)))
                continue
            assert isinstance(read, types.TextResourceContents)
            self.check_silence(orjson.loads(read.text), memory.id, self.known)
            found.add(memory.id)
        self.agree("resources/read", found, self.known)
        assert len(refusals) <= 1

    async def exports(self) -> None:
        stream = io.BytesIO()
        export = Export(app=self.world.app, caller=self.caller, report=lambda _done, _total: None)
        assert await export.to_stream(stream) == len(self.known)
        lines = [orjson.loads(line) for line in stream.getvalue().splitlines()]
        self.check_silence(lines, None, self.known)
        self.agree("export", {line["memory_id"] for line in lines}, self.known)

    async def explanations(self) -> None:
        """Ask about every memory and one agent each: only owner and administrators learn anything."""
        policy, all_seeing = self.policy, self.policy.may(Permission.READ_ALL)
        for memory in self.world.memories:
            agent = self.random.choice([*self.world.agents.values()])
            answer = await self.ask("explain_access", memory_id=memory.id, agent_id=agent.id)
            if memory.agent_id != policy.agent_id and not all_seeing:
                missing = await self.ask("explain_access", memory_id=NOWHERE, agent_id=agent.id)
                assert renamed(answer, memory.id) == missing
            elif answer.get("success"):
                reader = Caller(agent_id=agent.id, namespace=agent.namespace, permissions=ROLES[agent.role])
                allowed = visibility_of(reader).includes(memory)
                expected = (allowed, allowed and may_write(reader, memory), allowed and may_manage(reader, memory))
                if not agent.active:
                    expected = (False, False, False)
                if knows(policy, agent):
                    assert (answer["allowed"], answer["can_write"], answer["can_manage"]) == expected, (answer, agent)
                else:
                    assert memory.access_level is AccessLevel.SHARED
                    assert answer["reason"] == "shared"
            else:
                assert answer["error"]["code"] == "agent_not_found"
                assert not knows(policy, agent)
        self.cases["explain_access"] += len(self.world.stored)

    async def agents(self) -> None:
        listed = [view async for page in self.pages("list_agents", "agents", limit=3) for view in page]
        expected = {each.id: each for each in self.world.agents.values() if knows(self.policy, each)}
        assert [view["agent_id"] for view in listed] == sorted(expected)
        for view in listed:
            assert ("role" in view) == ("memories" in view) == knows_whole(self.policy, expected[view["agent_id"]])
        missing = await self.ask("get_agent", agent_id="nobody")
        for agent_id in self.world.agents:
            answer = await self.ask("get_agent", agent_id=agent_id)
            assert bool(answer.get("success")) == (agent_id in expected)
            if agent_id not in expected:
                assert orjson.loads(orjson.dumps(answer).decode().replace(agent_id, "nobody")) == missing
            self.cases["get_agent"] += 1

    async def changes(self) -> None:
        """Try to change what the caller does not see or may not change; what it may is left alone."""
        attempts: dict[str, dict[str, Any]] = {
            "update_memory": {"content": "Taken."},
            "delete_memory": {},
            "share_memory": {"shared_with": [self.caller.agent_id]},
        }
        for name, arguments in attempts.items():
            missing = await self.ask(name, memory_id=NOWHERE, **arguments)
            for memory in self.world.memories:
                right = may_write if name == "update_memory" else may_manage
                if memory.id in self.known and right(self.policy, memory):
                    continue
                answer = await self.ask(name, memory_id=memory.id, **arguments)
                if memory.id in self.known:
                    assert answer["error"]["code"] == "forbidden"
                else:
                    assert renamed(answer, memory.id) == missing
                self.cases[name] += 1


def _typed(name: str, value: Any) -> Any:
    if name == "memory_type":
        return MemoryType(value)
    return tuple(value) if isinstance(value, list) else value


def renamed(answer: Any, memory_id: str) -> Any:
    """Return an answer as it would be for an id that never existed."""
    return orjson.loads(orjson.dumps(answer).decode().replace(memory_id, NOWHERE))
