"""A model server that somebody else runs, at an address: nothing is started and nothing is stopped."""

from __future__ import annotations

import errno
import socket
import time

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import SpecError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import JobState, Observation
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner

_CONNECT_SECONDS = 1.0  # how long one look at the port may take
_LOOK_SECONDS = 0.5  # how long what was seen of a server that runs is believed


class AddressRunner(BaseModelServerRunner):
    """Watches a server's port. The job runs while somebody accepts connections there; its log is its owner's."""

    platform = "address"

    def _launch(self) -> None:
        config = self.serving_spec.address
        if config is None:
            raise SpecError("serving_spec.address", "is not given")
        self._config = config
        self._looked_at = -_LOOK_SECONDS
        self._seen = Observation.pending()

    def _look(self) -> Observation:
        now = time.monotonic()
        if now < self._looked_at + (_LOOK_SECONDS if self._state is JobState.RUNNING else 0.0):
            return self._seen
        problem, refused = why_not_open(self._config.asked)
        self._looked_at = time.monotonic()
        if not problem:
            self._seen = Observation.running(f"{self._config.asked} accepts connections")
        elif self._state is not JobState.RUNNING:
            self._seen = Observation.pending(problem, ReasonCode.SERVER_NOT_REACHABLE)
        elif refused:  # a look that only took too long says nothing of a server that runs
            self._seen = Observation.gone(
                ReasonCode.SERVER_NOT_REACHABLE, f"It accepted connections before; now {problem}"
            )
        return self._seen

    def _find_endpoint(self) -> str:
        return self._config.asked

    def _find_rest_endpoint(self) -> str:
        return self._config.rest

    def _tail_logs(self) -> str:
        return ""


def why_not_open(endpoint: str) -> tuple[str, bool]:
    """(why nobody accepts connections at ``host:port``, whether they were refused); ("", False) if somebody does."""
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), Deadline.after(_CONNECT_SECONDS).remaining()).close()
    except OSError as error:
        return f"{endpoint}: {error.strerror or error or type(error).__name__}.", error.errno == errno.ECONNREFUSED
    return "", False
