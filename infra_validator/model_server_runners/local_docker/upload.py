"""Copies a model into a volume of a Docker daemon, for daemons that do not see our files. No docker library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from infra_validator.core.deadline import SYSTEM_CLOCK, Deadline
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.local_docker.container_spec import carrier
from infra_validator.saved_model.archive import Archive

_TARGET = "/infra-validator-model"  # where the volume stands in the container that it is filled through
_TELL_EVERY = 2.0  # seconds between two lines of progress


class Daemon(Protocol):
    """What is asked of a daemon here; daemon.DockerDaemon answers."""

    def create_volume(self, name: str, labels: Mapping[str, str], deadline: Deadline) -> None: ...
    def remove_volume(self, name: str, deadline: Deadline) -> bool: ...
    def create_container(self, name: str, body: Mapping[str, Any], deadline: Deadline) -> list[str]: ...
    def remove_container(self, name: str, deadline: Deadline) -> bool: ...
    def put_archive(self, name: str, path: str, chunks: Iterable[bytes], deadline: Deadline) -> None: ...


class ModelVolume:
    """A volume with a copy of a model, filled through a container that never runs.

    Args:
      daemon: where.
      name: the volume's name; the container's begins with it.
      labels: of both.
      tell: gets a line of progress every few seconds.
      check: raises where the upload shall end early.
      on_bytes: gets ``upload``, the bytes so far and in all, as they go.
    """

    def __init__(
        self,
        daemon: Daemon,
        name: str,
        labels: Mapping[str, str],
        tell: Callable[[str], None],
        check: Callable[[], None],
        on_bytes: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> None:
        self.name = name
        self._daemon = daemon
        self._carrier = f"{name}-carrier"
        self._labels = labels
        self._tell = tell
        self._check = check
        self._on_bytes = on_bytes

    def fill(self, image: str, archive: Archive, deadline: Deadline, seconds: float) -> None:
        """Create the volume and unpack the model's archive in it, which may take ``seconds``.

        Raises:
          InfrastructureError: it could not be done, or not in time. Call ``remove`` all the same.
        """
        self._daemon.create_volume(self.name, self._labels, deadline)
        self._daemon.create_container(self._carrier, carrier(image, self.name, _TARGET, self._labels), deadline)
        copied = deadline.capped(seconds)
        pieces = self._counted(archive.chunks(), archive.length, copied)
        try:
            self._daemon.put_archive(self._carrier, _TARGET, pieces, copied)
        except InfrastructureError as error:
            if error.reason is ReasonCode.DOCKER_NOT_ANSWERING and copied.expired():
                raise _not_in_time("the daemon took nothing more") from error
            raise
        self._daemon.remove_container(self._carrier, deadline)

    def remove(self, deadline: Deadline) -> None:
        """Remove the container and the volume; what is not there is fine."""
        self._daemon.remove_container(self._carrier, deadline)
        self._daemon.remove_volume(self.name, deadline)

    def _counted(self, pieces: Iterator[bytes], size: int, deadline: Deadline) -> Iterator[bytes]:
        """The pieces, with progress; ends early when the deadline or an interruption comes."""
        sent = 0
        tell_at = SYSTEM_CLOCK.monotonic() + _TELL_EVERY
        for piece in pieces:
            self._check()
            how_far = f"{sent / 1e6:.0f} of {size / 1e6:.0f} MB"
            if deadline.expired():
                raise _not_in_time(how_far)
            if SYSTEM_CLOCK.monotonic() > tell_at:
                tell_at = SYSTEM_CLOCK.monotonic() + _TELL_EVERY
                self._tell(f"the model is copied: {how_far}")
            yield piece
            sent += len(piece)
            self._on_bytes("upload", sent, size)


def _not_in_time(how_far: str) -> InfrastructureError:
    return InfrastructureError(
        ReasonCode.MODEL_NOT_VISIBLE,
        f"The upload of the model was not done in time: {how_far}.",
        next_step="Raise serving_spec.local_docker.upload_timeout_seconds.",
    )
