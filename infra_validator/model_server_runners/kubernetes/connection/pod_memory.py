"""How much memory the server's container in a pod holds: what its own control group says, read by ``cat`` in the container.

The metrics API has one value for every quarter of a minute, which misses most of a validation. What a control group counts is what the
container's memory limit is held against, the page cache of files that it reads included.
"""

from __future__ import annotations

import json
import select
import urllib.parse

from infra_validator.core.deadline import Deadline
from infra_validator.core.states import MemoryReading
from infra_validator.model_server_runners.kubernetes.api.errors import ApiError, ApiUnreachable
from infra_validator.model_server_runners.kubernetes.api.stream import WebSocket
from infra_validator.model_server_runners.kubernetes.causes import SERVER_CONTAINER
from infra_validator.model_server_runners.kubernetes.connection.upload import PROTOCOLS, StreamingApi

_STDOUT, _ERROR = 1, 3
_CLOSE = 8  # a WebSocket opcode
_LONGEST = 4096  # bytes of an answer

#: What is held now, and the kernel's record of the most: version 2 of control groups, version 1.
_FILES = (
    ("memory.current", "memory.peak", "version 2"),
    ("memory/memory.usage_in_bytes", "memory/memory.max_usage_in_bytes", "version 1"),
)


class PodMemory:
    """Reads the memory of the server's container. Used by one thread at a time.

    Args:
      api: the API server.
      pod_path: the pod's path.
    """

    def __init__(self, api: StreamingApi, pod_path: str) -> None:
        self._api = api
        self._pod_path = pod_path
        self._version = 0
        self._for_good = ""  # why it can never be read

    def read(self, deadline: Deadline) -> MemoryReading:
        """One reading. What is not allowed, or not there, is said and not tried again.

        Raises:
          ApiUnreachable: the stream broke.
        """
        current, peak, version = _FILES[self._version]
        source = f"the control group of the pod's container ({version}; page cache included)"
        if self._for_good:
            return MemoryReading.none(source, self._for_good)
        files = [f"/sys/fs/cgroup/{name}" for name in (current, peak)]
        try:
            said, words = self._cat(files, deadline)
        except ApiError as error:
            if error.status in (401, 403):
                self._for_good = (
                    f"The validator may not look into the pod, which takes get and create of pods/exec: {error.message}"
                )
            return MemoryReading.none(source, self._for_good or f"The pod could not be looked into: {error}.")
        numbers = [int(line) for line in said.split() if line.isdigit()]
        if numbers:
            return MemoryReading(numbers[0], source, numbers[1] if len(numbers) > 1 else None)
        if self._version + 1 < len(_FILES):
            self._version += 1
            return self.read(deadline)
        self._for_good = (
            f"The container does not tell how much memory it takes: {words or 'its control group is not there'}."
        )
        return MemoryReading.none(source, self._for_good)

    def _cat(self, files: list[str], deadline: Deadline) -> tuple[str, str]:
        """(what the command wrote, the node's words where it failed). A file that is not there is left out."""
        streams = {"container": SERVER_CONTAINER, "stdout": "true", "stderr": "true", "stdin": "false", "tty": "false"}
        query = urllib.parse.urlencode([*streams.items(), *(("command", part) for part in ["cat", *files])])
        what = f"exec in pod {self._pod_path.rpartition('/')[2]}"
        stream = self._api.websocket(f"{self._pod_path}/exec", query, PROTOCOLS, deadline, what)
        try:
            return _answer(stream, deadline, what)
        finally:
            stream.shutdown()


def _answer(stream: WebSocket, deadline: Deadline, what: str) -> tuple[str, str]:
    said, status = b"", b""
    try:
        stream.settimeout(max(0.001, deadline.remaining()))
        while not status:
            pending = getattr(stream.sock, "pending", None)
            if not (pending and pending()) and not select.select([stream.sock], [], [], deadline.remaining())[0]:
                raise ApiUnreachable(what, "no answer came in time")
            opcode, data = stream.recv_data()
            if opcode == _CLOSE:
                break
            if data and data[0] == _STDOUT:
                said = (said + data[1:])[:_LONGEST]
            elif data and data[0] == _ERROR:
                status = data[1:]
    except ApiUnreachable:
        raise
    except Exception as error:  # the library's, the socket's
        raise ApiUnreachable(what, f"the stream broke: {type(error).__name__}: {error}") from error
    try:
        words = str(json.loads(status or b"{}").get("message") or "")
    except (ValueError, AttributeError):
        words = ""
    return said.decode("ascii", "replace"), words
