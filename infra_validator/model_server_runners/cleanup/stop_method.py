"""What it took to stop a server."""

from __future__ import annotations

import enum


class StopMethod(enum.Enum):
    """The last step of the stop ladder (ask, SIGTERM, SIGKILL) that was needed to stop a server."""

    NONE = "it had ended before"
    TERM = "SIGTERM"
    KILL = "SIGKILL"
