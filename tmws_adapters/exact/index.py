"""A vector index that compares the query with every allowed vector."""

from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import batched
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import attrs

from tmws_core.domain.embedding import Vector
from tmws_core.domain.ranking import Hit
