"""Agents that somebody has written down in a file: reading it, and registering them."""

from tmws_adapters.profiles.files import (
    PROFILES,
    Profiles,
    bundled_profiles,
    custom_files,
    first_file,
    profiles_in,
)
from tmws_adapters.profiles.registering import Ask, Refused, Registered, load_custom_agents, register_all

__all__ = [
    "PROFILES",
    "Ask",
    "Profiles",
    "Refused",
    "Registered",
    "bundled_profiles",
    "custom_files",
    "first_file",
    "load_custom_agents",
    "profiles_in",
    "register_all",
]
