"""The one way in which clients open a gRPC channel to a model server."""

from __future__ import annotations

import contextlib
import importlib
import re
import threading

import grpc

from infra_validator.core.errors import raise_if_exhausted

with contextlib.suppress(ImportError):
    importlib.import_module("grpc._channel")  # a quarter of grpcio, which else the first channel imports

_OTHER_PROTOCOL = re.compile(r"http1\.x server|Failed parsing HTTP/2")

# Where something accepts connections for a server that is not up yet (Docker's proxy, a port-forward), it is tried again so often.
# The first is gRPC's own least; the second spares the API server behind a port-forward.
_FIRST_RECONNECT_MILLISECONDS = 100
_LONGEST_RECONNECT_MILLISECONDS = 250

#: What grpcio opens when it is used first, at least: where it cannot, it ends the whole process (SIGABRT).
_DESCRIPTORS = 8

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),  # a proxy of the environment does not lead to a server that we started
    ("grpc.use_local_subchannel_pool", 1),  # no connection, and no backoff, shared with another client of this process
    ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MILLISECONDS),
    ("grpc.min_reconnect_backoff_ms", 5000),  # how long one try to connect may take
    ("grpc.max_reconnect_backoff_ms", _LONGEST_RECONNECT_MILLISECONDS),
    ("grpc.enable_retries", 0),  # a request is sent once, so that what is reported is what happened
)


def open_channel(endpoint: str) -> grpc.Channel:
    """A plaintext channel to ``endpoint`` (``host:port``) of its own, without limits on message size. Connects when used; close it.

    Raises:
      OSError: this process has hardly a file descriptor left.
    """
    raise_if_exhausted(_DESCRIPTORS)
    return grpc.insecure_channel(endpoint, options=_OPTIONS)


def close_channel(channel: grpc.Channel, seconds: float = 5.0) -> None:
    """Close it, within ``seconds``: where grpcio found no memory or thread for a call, it waits for that call without end."""
    closing = threading.Thread(target=channel.close, name="closing a channel", daemon=True)
    with contextlib.suppress(RuntimeError):  # no thread is to be had: the process' end closes it
        closing.start()
        closing.join(seconds)


def is_other_protocol(details: str) -> bool:
    """Whether an error's text says that what answers does not speak gRPC at all."""
    return bool(_OTHER_PROTOCOL.search(details))
