"""Tells the server's pod, now and then, that the validator lives: the server of one that was killed is ended by its node.

See pod/liveness.py for the other half. Two calls a minute, and the right to patch pods.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock, Deadline
from infra_validator.core.errors import InfrastructureError
from infra_validator.model_server_runners.kubernetes.api.errors import ApiError, ApiUnreachable
from infra_validator.model_server_runners.kubernetes.leftovers import CallingApi
from infra_validator.model_server_runners.kubernetes.pod.liveness import ANNOTATION, SILENT_MINUTES

_LOG = logging.getLogger(__name__)

EVERY_SECONDS = 30.0
GIVEN_UP_SECONDS = (
    SILENT_MINUTES * 60.0 - EVERY_SECONDS
)  # before the node ends the server: that end would look like the model's


class Heartbeat:
    """Renews the pod's annotation in a thread of its own, from ``start`` to ``close``.

    Args:
      api: the API server.
      pod_path: the pod's path.
      on_lost: called once, with a sentence, when no heartbeat has got through for so long that the node will end the server.
      every_seconds: how often.
      given_up_seconds: how long none may get through.
      clock: where time is read.
    """

    def __init__(
        self,
        api: CallingApi,
        pod_path: str,
        on_lost: Callable[[str], None],
        every_seconds: float = EVERY_SECONDS,
        given_up_seconds: float = GIVEN_UP_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._api = api
        self._path = pod_path
        name = pod_path.rpartition("/")[2]
        self._what = f"renew the heartbeat of pod {name}"
        self._on_lost = on_lost
        self._every_seconds = every_seconds
        self._given_up_seconds = given_up_seconds
        self._clock = clock
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat of {name}", daemon=True)

    def start(self) -> None:
        """Begin to renew it. The pod was created a moment ago, which was the first heartbeat."""
        self._thread.start()

    def close(self) -> None:
        """Stop. May be called twice, and without ``start``."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _beat(self) -> None:
        number = 0
        heard_until = Deadline.after(self._given_up_seconds, self._clock)
        while not self._closed.wait(self._every_seconds):
            number += 1
            body = {"metadata": {"annotations": {ANNOTATION: str(number)}}}
            begun = Deadline.after(self._given_up_seconds, self._clock)
            try:
                self._api.call(
                    "PATCH", self._path, Deadline.after(self._every_seconds, self._clock), self._what, body=body
                )
                heard_until = begun
            except (ApiError, ApiUnreachable, InfrastructureError) as error:
                _LOG.debug("%s", error)
                if isinstance(error, ApiError) and error.status == 404:
                    return  # the pod is gone, which the watch tells
                if heard_until.expired():
                    self._on_lost(
                        f"The pod heard nothing of the validator for {self._given_up_seconds:g} s, so its node ends it: {error}"
                    )
                    return
