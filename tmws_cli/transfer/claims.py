"""What a file says of whose its memories are, who reads them, and what replaced them: anybody can have written it."""

from collections import Counter

import attrs

from tmws_cli.transfer.records import Item, Record
from tmws_core.domain.memory import AccessLevel


@attrs.frozen(kw_only=True)
class Claims:
    """Lets memories come in as the caller's own and private, or where it is `believed`, as the file says.

    `counts` has how many are said to be of `other_agents`, of each access level but private, and `replaced`. Whatever
    its level, a memory that some agents may change is said to be shared.
    """

    owner: str
    believed: bool = False
    counts: Counter[str] = attrs.field(factory=Counter)

    def settle(self, item: Item) -> Item:
        """Return an item as it comes in, and count what it says."""
        if not isinstance(item, Record):
            return item
        request = item.request
        said = {"other_agents"} if request.agent_id not in (None, self.owner) else set()
        said |= set() if request.access_level is AccessLevel.PRIVATE else {request.access_level.value}
        said |= {AccessLevel.SHARED.value} if item.writers else set()
        self.counts.update(said | ({"replaced"} if self.believed and item.superseded_by is not None else set()))
        if self.believed or not said:
            return item
        request = attrs.evolve(request, agent_id=None, access_level=AccessLevel.PRIVATE, shared_with=())
        return attrs.evolve(item, request=request, writers=(), is_claimed=True)
