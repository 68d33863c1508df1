"""The model config file, polled (contract 2.7): parsed and applied every period, changed or not."""

from __future__ import annotations

import threading

from infra_validator.embedded_server import log
from infra_validator.embedded_server.models.model_config import read_model_config
from infra_validator.embedded_server.models.server_core import ServerCore
from infra_validator.embedded_server.status import StatusError

_SOURCE = "server.cc"


class ConfigFilePoller:
    """Applies a file again and again; errors are logged and change nothing.

    Args:
      core: what the configuration is applied to.
      path: the file.
      period: seconds between two looks; the first is at once.
    """

    def __init__(self, core: ServerCore, path: str, period: float) -> None:
        self._core = core
        self._path = path
        self._period = period
        self._stopping = threading.Event()
        # A daemon: a reload waits without limit for models that never come.
        threading.Thread(target=self._poll, name="poll-config-file", daemon=True).start()

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._apply()
            self._stopping.wait(self._period)

    def _apply(self) -> None:
        try:
            config = read_model_config(self._path)
        except StatusError as error:
            log.error(_SOURCE, f"Failed to read ModelServerConfig file: {error.message}")
            return
        try:
            self._core.reload(config)
        except StatusError as error:
            log.error(_SOURCE, f"PollFilesystemAndReloadConfig failed to ReloadConfig: {error.message}")

    def close(self) -> None:
        """Apply it no more."""
        self._stopping.set()
