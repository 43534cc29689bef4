"""Cache, rate limits and events that several servers share by Redis."""

from tmws_adapters.redis.opening import Local, Redis, redis_at

__all__ = ["Local", "Redis", "redis_at"]
