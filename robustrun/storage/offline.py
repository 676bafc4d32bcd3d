"""Whether this process may open a connection: ROBUSTRUN_OFFLINE, or the hub's own variable."""

import os
import sys

VARIABLES = ("ROBUSTRUN_OFFLINE", "HF_HUB_OFFLINE")
YES = ("1", "true", "yes", "on")


def offline() -> str | None:
    """The variable that forbids connections, as it is set; None if none does."""
    for name in VARIABLES:
        if os.environ.get(name, "").strip().lower() in YES:
            return f"{name}={os.environ[name]}"
    return None


def keep_hub_offline() -> None:
    """Where connections are forbidden, let Hugging Face's libraries open none either: they go by
    HF_HUB_OFFLINE, which they read when they are imported."""
    if offline() is None:
        return
    os.environ["HF_HUB_OFFLINE"] = "1"
    if imported := sys.modules.get("huggingface_hub.constants"):
        imported.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
