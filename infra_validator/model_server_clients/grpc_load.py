"""The load's own road over gRPC, apart from that of the checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc

from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.grpc_channel import close_channel, open_channel
from infra_validator.model_server_clients.load_connection import LoadFailure
from infra_validator.model_server_clients.request_failures import is_cut, is_refused_connection, told


class GrpcLoad:
    """A LoadConnection over gRPC.

    A call blocks its thread, and that thread takes the time when it returns: one way for callers that wait and for a schedule. grpc's
    futures measure the same to within a few percent, ``grpc.aio`` some more (``benchmarks.load --only senders``).

    Args:
      endpoint: ``host:port``; connected to when first used, apart from every other channel.
      requests: what is asked, as bytes that are ready to be sent.
      metadata: headers of every request.
      open_channel: opens a channel, or what is called like one.
    """

    def __init__(
        self,
        endpoint: str,
        requests: Sequence[SampleRequest],
        metadata: tuple[tuple[str, str | bytes], ...] = (),
        open_channel: Callable[[str], Any] = open_channel,
    ) -> None:
        self._requests = tuple(requests)
        self._metadata = metadata or None
        self._closed = False
        self._channel = open_channel(endpoint)
        calls = {method: self._channel.unary_unary(method, None, None) for method in {r.method for r in requests}}
        self._calls = [(calls[request.method], request.payload) for request in self._requests]

    def ask(self, number: int, timeout_seconds: float) -> LoadFailure | None:
        """See LoadConnection."""
        place = number % len(self._calls)
        call, payload = self._calls[place]
        try:
            answer = call(payload, timeout=timeout_seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            return self._failure(place, error)
        except ValueError as error:  # grpc's for a channel that was closed
            return LoadFailure(str(error), lost=True)
        return None if answer else LoadFailure(f"{self._requests[place].label}: the answer is empty")

    def _failure(self, place: int, error: grpc.RpcError) -> LoadFailure:
        code, text = error.code(), error.details() or ""
        request = self._requests[place]
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return LoadFailure(f"{request.label}: not answered in time")
        cut = self._closed or is_cut(code, text)
        return LoadFailure(told(request, code, text), lost=cut, refused=cut and is_refused_connection(text))

    def close(self) -> None:
        """See LoadConnection."""
        self._closed = True
        close_channel(self._channel)
