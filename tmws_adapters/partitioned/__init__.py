"""Vector search that takes the cheaper of two ways: the exact one, or partitions of an approximate index."""

from tmws_adapters.partitioned.costs import Costs
from tmws_adapters.partitioned.following import Follower, Standing
from tmws_adapters.partitioned.index import PartitionedIndex, open_partitioned

__all__ = ["Costs", "Follower", "PartitionedIndex", "Standing", "open_partitioned"]
