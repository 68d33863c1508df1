"""One ModelRuntime in this process: the gRPC server, its addresses, and the order of its start and end."""

from __future__ import annotations

import logging
import os
import socket
import stat
from collections.abc import Sequence
from concurrent import futures
from types import TracebackType

import grpc

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_runtime.backends.base_backend import Backend
from infra_validator.model_runtime.inference import InferenceHandler
from infra_validator.model_runtime.model_table import ModelTable
from infra_validator.model_runtime.servicer import Parameters, Servicer
from infra_validator.protos.model_runtime_pb2_grpc import add_ModelRuntimeServicer_to_server

_LOG = logging.getLogger(__name__)

#: Threads that answer RPCs. Loads that wait hold one each; the servicer keeps their number below this.
_THREADS = 128
_LONGEST_ID_IN_A_HEADER = 64 * 2**10  # bytes; an id of 10 kB comes twice, once of it in base64

_OPTIONS = (
    # Tensors are larger than gRPC's default of 4 MiB; TensorFlow Serving sets int32's maximum as well.
    ("grpc.max_receive_message_length", 2**31 - 1),
    ("grpc.max_send_message_length", 2**31 - 1),
    ("grpc.max_metadata_size", _LONGEST_ID_IN_A_HEADER),
    ("grpc.absolute_max_metadata_size", _LONGEST_ID_IN_A_HEADER),
    # A second server on our port must fail to start instead of taking every other request.
    ("grpc.so_reuseport", 0),
)


class ModelRuntimeServer:
    """A ModelRuntime that listens from its making on; close it.

    Args:
      backend: loads, unloads and maybe serves; closed with the server.
      parameters: what runtimeStatus tells.
      model_root: the directory that model paths may not leave.
      addresses: where to listen: ``host:port`` (port 0: a free one) and ``unix:PATH``.

    Attributes:
      ports: the port of each address, in their order; 0 for a Unix socket.
      table: the models.

    Raises:
      UsageError: the parameters would be refused by model-mesh, or an address cannot be listened on.
    """

    def __init__(self, backend: Backend, parameters: Parameters, model_root: str, addresses: Sequence[str]) -> None:
        parameters.check()
        self._backend = backend
        self.table = ModelTable(
            backend, parameters.capacity, parameters.max_loading_concurrency, parameters.max_concurrency
        )
        self._server = grpc.server(
            futures.ThreadPoolExecutor(_THREADS + parameters.max_loading_concurrency, "rpc"), options=_OPTIONS
        )
        servicer = Servicer(backend, self.table, parameters, model_root)
        add_ModelRuntimeServicer_to_server(servicer, self._server)
        if backend.serves:
            self._server.add_generic_rpc_handlers((InferenceHandler(backend, self.table),))
        # model-mesh treats UNIMPLEMENTED as fatal, so the port opens only when everything is registered.
        try:
            self.ports = [self._listen(address) for address in addresses]
        except BaseException:
            self._server.stop(None)
            raise
        self._server.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the server's end; True when it has not come after ``seconds``."""
        return self._server.wait_for_termination(seconds)

    def stop(self, grace: float = 5.0) -> None:
        """Refuse new calls and let those that run end within ``grace`` seconds; unload everything. Any number of times."""
        self._server.stop(grace).wait(grace + 5.0)
        self.table.close(Deadline.after(grace))
        self._backend.close()

    def _listen(self, address: str) -> int:
        if address.startswith("unix:"):
            _clear_stale_socket(address.removeprefix("unix:"))
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:  # gRPC's only way to say it
            raise _cannot_listen(address) from error
        if address.startswith("unix:"):
            return 0
        if not port:  # gRPC before 1.60 answers 0
            raise _cannot_listen(address)
        return port

    def __enter__(self) -> ModelRuntimeServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(grace=1.0)


def _cannot_listen(address: str) -> UsageError:
    return UsageError(
        f"Cannot listen on {address}.",
        reason=ReasonCode.PORT_NOT_AVAILABLE,
        next_step="Free the address or name another one.",
    )


def _clear_stale_socket(path: str) -> None:
    """Remove a socket that nobody listens on; gRPC itself would also take one from a server that lives.

    Raises:
      UsageError: somebody listens on it, it is no socket, or its directory is not there.
    """
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise UsageError(f"Cannot listen on {path}: its directory does not exist.", next_step="Make the directory.")
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise UsageError(f"Cannot listen on {path}: it is there and is no socket.")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            os.unlink(path)
            return
        except OSError as error:
            raise _cannot_listen(f"unix:{path}") from error
    raise _cannot_listen(f"unix:{path}")
