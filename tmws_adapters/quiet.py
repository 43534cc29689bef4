"""What keeps libraries from telling their makers about this machine."""

import os

_SILENT = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""Variables that libraries read while they are imported, and never again.

onnxruntime 1.31 otherwise queues events below `~/.cache/Microsoft` and sends them to mobile.events.data.microsoft.com;
`disable_telemetry_events()`, which can only be called later, does not stop it (measured). tokenizers depends on
huggingface_hub, which asks huggingface.co.
"""


def silence() -> None:
    """Let no library that is imported from now on open a connection of its own, whatever the environment said before.

    To be called right before the import of one that would: this process and its children then say nothing, but whoever
    only imports a module of ours keeps the environment as it is. What the program imported before stays as it is.
    """
    os.environ.update(_SILENT)
