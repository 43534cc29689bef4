"""Cache, bus, metrics and licence that live in the process and end with it."""

from tmws_adapters.inprocess.bus import InprocessBus
from tmws_adapters.inprocess.cache import LruCache
from tmws_adapters.inprocess.license import FreeLicense
from tmws_adapters.inprocess.metrics import InprocessMetrics

__all__ = ["FreeLicense", "InprocessBus", "InprocessMetrics", "LruCache"]
