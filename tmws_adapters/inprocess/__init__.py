"""Cache, bus, limiter, metrics and signed position that live in the process and end with it."""

from tmws_adapters.inprocess.bus import InprocessBus
from tmws_adapters.inprocess.cache import LruCache
from tmws_adapters.inprocess.limiter import InprocessLimiter
from tmws_adapters.inprocess.metrics import InprocessMetrics
from tmws_adapters.inprocess.position import InprocessPosition

__all__ = ["InprocessBus", "InprocessLimiter", "InprocessMetrics", "InprocessPosition", "LruCache"]
