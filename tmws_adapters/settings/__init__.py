"""Settings: read once, frozen, and refused where they are not understood."""

from tmws_adapters.settings.fields import PREFIX, REQUEST_SECONDS, name_of
from tmws_adapters.settings.loading import ENV_FILE, RESERVED, known_names, load_settings, merged_variables
from tmws_adapters.settings.values import TOOLSETS, Settings

__all__ = [
    "ENV_FILE",
    "PREFIX",
    "REQUEST_SECONDS",
    "RESERVED",
    "TOOLSETS",
    "Settings",
    "known_names",
    "load_settings",
    "merged_variables",
    "name_of",
]
