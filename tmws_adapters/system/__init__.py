"""Time and chance of the machine."""

from tmws_adapters.system.clock import SystemClock
from tmws_adapters.system.ids import SystemIds

__all__ = ["SystemClock", "SystemIds"]
