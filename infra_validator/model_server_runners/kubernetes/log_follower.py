"""Follows the server's log: what it says last, and that it says something, which is when its port may have opened.

One call for the whole validation. Who waits for a port that is still closed would otherwise have to try again, and through an API server
every try is a call.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from typing import Protocol

from infra_validator.core.deadline import SYSTEM_CLOCK, News
from infra_validator.core.errors import InfraValidatorError
from infra_validator.model_server_runners.kubernetes.logs import BYTES, LINES
from infra_validator.model_server_runners.log_lines import last_lines

_LOG = logging.getLogger(__name__)

_SILENCE_SECONDS = 3600.0  # a server may have nothing to say


class Stream(Protocol):
    """A stream of bytes, as api.stream.JsonStream has it."""

    def chunks(self) -> Iterator[bytes]: ...

    def break_off(self) -> None: ...


class FollowingApi(Protocol):
    """What is needed of api.client.KubernetesApi."""

    def stream(
        self, path: str, query: Mapping[str, str], what: str, silence_seconds: float
    ) -> contextlib.AbstractContextManager[Stream]: ...


class LogFollower:
    """The log of one running container, from now to ``close``. That it cannot be followed is no error: then there is no news.

    Args:
      api: the API server.
      path: the pod's path.
      container: the container's name.
      what: how messages call it.

    Attributes:
      news: announced whenever the log has grown, and when it ends.
      spoke_at: when it last grew, in monotonic seconds; None before.
      follows: whether it is still followed.
    """

    def __init__(self, api: FollowingApi, path: str, container: str, what: str) -> None:
        self.news = News()
        self.spoke_at: float | None = None
        self.follows = True
        self._api = api
        self._path = f"{path}/log"
        self._query = {"container": container, "follow": "true", "tailLines": str(LINES)}
        self._what = what
        self._text = b""
        self._closed = False
        self._stream: Stream | None = None
        threading.Thread(target=self._follow, name=f"follow {what}", daemon=True).start()

    @property
    def tail(self) -> str:
        """The last lines."""
        return last_lines(self._text.decode("utf-8", "replace"), LINES)

    def close(self) -> None:
        """Stop following. May be called twice. A log that said nothing yet is let go when the pod is deleted."""
        self._closed = True
        if self._stream is not None:
            self._stream.break_off()

    def _follow(self) -> None:
        try:
            with self._api.stream(self._path, self._query, self._what, _SILENCE_SECONDS) as stream:
                self._stream = stream
                for chunk in stream.chunks():
                    if self._closed:
                        return
                    self._text = (self._text + chunk)[-BYTES:]
                    self.spoke_at = SYSTEM_CLOCK.monotonic()
                    self.news.announce()
        except InfraValidatorError as error:
            _LOG.debug("%s: %s", self._what, error)
        finally:
            self.follows = False
            self.news.announce()
