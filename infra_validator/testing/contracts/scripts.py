"""What a server does that the contract tests of a client talk to: said by the test, whatever the protocol."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class Refused(Exception):
    """Raised by ``Script.reply``: the request is to be answered with an error that says this text."""


class Script:
    """What the server does now; a test changes it while the server runs. Used by many threads at once.

    Attributes:
      model: ``loading``, ``ready`` or ``failed``: what the server says of its model ``m``.
      message: the model's error when it has failed.
      reply: from an inference request's bytes to its answer's; may take its time, and raises Refused for an error.
      received: every inference request's bytes.
      most_at_once: how many inference requests have been in hand at one moment.
    """

    def __init__(self, model: str = "ready") -> None:
        self.model = model
        self.message = ""
        self.reply: Callable[[bytes], bytes] = lambda request: b""
        self.received: list[bytes] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def infer(self, request: bytes) -> bytes:
        """Called by the server for each inference request, in a thread of the request's own.

        Raises:
          Refused: the answer is an error.
        """
        with self.taking(request):
            return self.reply(request)

    @contextlib.contextmanager
    def taking(self, request: bytes) -> Iterator[None]:
        """The time in which a request is in hand."""
        with self._lock:
            self.received.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1


@contextlib.contextmanager
def answering_connections(answer: Callable[..., None]) -> Iterator[str]:
    """A TCP server that hands every connection to ``answer``, then closes it; yields its endpoint."""
    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                if stopped.is_set():
                    return
                answer(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield endpoint
    finally:
        stopped.set()
        with contextlib.suppress(OSError):
            socket.create_connection(listener.getsockname()).close()
        thread.join(10)
        listener.close()
