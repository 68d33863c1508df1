"""The spare of this process (docs/testing.md): which it is, and its end."""

from __future__ import annotations

from infra_validator.model_server_runners.local_process.spares import current, end

__all__ = ["current", "end"]
