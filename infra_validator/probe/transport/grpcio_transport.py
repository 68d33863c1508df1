"""The probe's calls through grpcio: for proxies, which the own client does not do, or because ``-transport grpcio`` says so.

One test body runs over it and over ``dial.py`` and ``http2.py``; the table in that test, and docs/probe.md, say where they differ.
"""

from __future__ import annotations

import _thread
import os
import time

import grpc

from infra_validator.probe.transport import rpc_status
from infra_validator.probe.transport.address import Address
from infra_validator.probe.transport.connection_settings import ConnectionSettings
from infra_validator.probe.transport.dial import DialError
from infra_validator.probe.transport.proxy import proxy_for
from infra_validator.probe.transport.rpc_status import RpcError

_ASKED_AGAIN_AFTER = 0.3  # seconds


class GrpcioConnection:
    """A channel that was ready once; ``call`` as http2.Connection has it."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def close(self) -> None:
        _let_go(self._channel)

    def call(self, path: str, request: bytes, until: float) -> bytes:
        """One unary call: the response message's octets. Raises RpcError."""
        try:
            timeout = until - time.monotonic()
            if timeout <= 0:
                raise RpcError(rpc_status.DEADLINE_EXCEEDED, "context deadline exceeded")
            response: bytes | None = self._channel.unary_unary(path, None, None)(request, timeout=timeout)
        except grpc.RpcError as error:
            code = error.code().value[0]
            message = "context deadline exceeded" if code == rpc_status.DEADLINE_EXCEEDED else error.details() or ""
            raise RpcError(code, message) from None
        if response is None:  # OK without a message, which grpcio does not call an error
            raise RpcError(rpc_status.INTERNAL, "the answer is not exactly one message")
        return response


def dial(address: Address, settings: ConnectionSettings, until: float) -> GrpcioConnection:
    """A channel that is ready. Raises DialError when it is not so by ``until``."""
    try:
        channel = open_channel(address, settings)
    except OSError as error:
        raise DialError(str(error)) from None
    while True:
        # A channel whose first connection went away at once has fallen idle, and connects again only if it is asked again.
        ready = grpc.channel_ready_future(channel)
        left = max(0.0, until - time.monotonic())
        try:
            ready.result(timeout=min(left, _ASKED_AGAIN_AFTER))
        except grpc.FutureTimeoutError:
            ready.cancel()
            if left > _ASKED_AGAIN_AFTER:
                continue
            _let_go(channel)
            raise DialError(f"context deadline exceeded (grpcio could not connect to {address})") from None
        return GrpcioConnection(channel)


_leaving: list[tuple[float, grpc.Channel]] = []  # channels that are not used any more, and since when


def _let_go(channel: grpc.Channel) -> None:
    """Close the channel, but not yet: grpcio's thread that watched for READY looks at it up to 0.2 s more, and dies with a
    traceback if it is closed by then (grpc/_channel.py, _poll_connectivity). Those left earlier are closed now."""
    now = time.monotonic()
    _leaving.append((now, channel))
    while _leaving[0][0] < now - 1:
        _leaving.pop(0)[1].close()


def open_channel(address: Address, settings: ConnectionSettings, *, longest_backoff: float = 1.0) -> grpc.Channel:
    """A channel that begins to connect when it is used. The caller closes it.

    Args:
      longest_backoff: seconds between two tries to connect, at most.

    Raises:
      OSError: a TLS file cannot be read, or no thread can be started.
    """
    _check_threads()
    proxy = proxy_for(address)
    if proxy:
        os.environ["grpc_proxy"] = proxy  # noqa: SIM112  grpcio reads other variables than Go does
    options: list[tuple[str, str | int]] = [
        ("grpc.primary_user_agent", settings.user_agent),
        ("grpc.enable_http_proxy", int(bool(proxy))),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", max(1, int(settings.connect_timeout * 1000))),  # gRPC's limit of one try
        ("grpc.max_reconnect_backoff_ms", int(longest_backoff * 1000)),
        ("grpc.use_local_subchannel_pool", 1),  # grpcio shares connections, and their backoff, between channels
    ]
    if not settings.tls:
        return grpc.insecure_channel(address.target, options)
    if settings.tls_server_name:
        options.append(("grpc.ssl_target_name_override", settings.tls_server_name))
    credentials = grpc.ssl_channel_credentials(
        _content(settings.tls_ca_cert), _content(settings.tls_client_key), _content(settings.tls_client_cert)
    )
    return grpc.secure_channel(address.target, credentials, options)


def _check_threads() -> None:
    """Raise OSError when there are no threads to be had: gRPC then tries for ten seconds and aborts the process."""
    try:
        _thread.start_new_thread(lambda: None, ())
    except RuntimeError as error:
        raise OSError(f"no thread can be started ({error}); raise the limit of processes") from None


def _content(path: str) -> bytes | None:
    if not path:
        return None
    with open(path, "rb") as file:
        return file.read()
