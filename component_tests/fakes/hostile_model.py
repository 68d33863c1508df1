"""The model of strangers (``hostile`` of saved_models.py) and what it attacks, for every platform alike."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import resource
from collections.abc import Iterator, Mapping
from concurrent import futures
from typing import Any

import grpc

from infra_validator.api import run_validation
from infra_validator.report.verdict import ValidationReport


class Asking:
    """Validates the model with one request for one of its signatures, in one try.

    Args:
      directory: for the file of the request.
      model: the SavedModel directory.
      serving_spec: where it is served.
    """

    def __init__(self, directory: pathlib.Path, model: pathlib.Path, serving_spec: Mapping[str, Any]) -> None:
        self._requests = directory / "requests.json"
        self.model = model
        self.serving_spec = serving_spec

    def __call__(self, signature: str, limits: Mapping[str, Any] | None = None, **inputs: object) -> ValidationReport:
        """The report, of an attempt that left nothing behind."""
        self._requests.write_text(json.dumps({"signature_name": signature, "inputs": inputs}))
        report = run_validation(
            self.model,
            self.serving_spec,
            {"num_tries": 1, **(limits or {})},
            {"protocols": ["grpc"]},
            requests=str(self._requests),
        )
        for attempt in report.serving_binaries[0].attempts:
            assert attempt.left_behind == ()
        return report


@contextlib.contextmanager
def few_descriptors() -> Iterator[int]:
    """How many a process may have open meanwhile: this one, and each that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fewer = max(1024, 2 * len(os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (fewer, hard))
    try:
        yield fewer
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Listener(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Whom a model calls: a gRPC server that has no method. A context manager.

    Args:
      address: where it listens.

    Attributes:
      called: the methods that were called, in order.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.called: list[str] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port(f"{address}:0")

    def service(self, details: grpc.HandlerCallDetails) -> None:
        self.called.append(details.method)

    def __enter__(self) -> Listener:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()
