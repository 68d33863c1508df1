"""Inference on the management port, for backends that serve: bytes in, bytes out, for the listed methods only.

model-mesh names the model in the headers ``mm-model-id-bin`` (always) and ``mm-model-id`` (printable ASCII only), and in the
request where the method's id injection path points. The header counts; a direct caller may leave it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import grpc

from infra_validator.model_runtime.backends.base_backend import Backend, BackendError
from infra_validator.model_runtime.model_entry import Refused
from infra_validator.model_runtime.model_table import ModelTable
from infra_validator.model_server_clients.model_runtime.id_injection import NotInjectable, extract, inject

_NO_DEADLINE = 1e9  # seconds


class InferenceHandler(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs only
    """Routes the backend's methods; gRPC answers UNIMPLEMENTED for all others.

    Args:
      backend: answers.
      table: keeps a model loaded while it is asked.
    """

    def __init__(self, backend: Backend, table: ModelTable) -> None:
        self._backend = backend
        self._table = table

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        method = handler_call_details.method.lstrip("/")
        if method not in self._backend.method_infos:
            return None
        return grpc.unary_unary_rpc_method_handler(self._answer(method))

    def _answer(self, method: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        path = self._backend.method_infos[method]

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                model_id = _id_in_headers(context.invocation_metadata())
                if model_id is None:
                    model_id = extract(request, path)
                else:
                    request = inject(request, path, model_id)
                if not model_id:
                    raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "The request names no model.")
                with self._table.using(model_id):
                    return self._backend.infer(model_id, method, request, _seconds_left(context))
            except NotInjectable as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"The request cannot be read: {error}.")
            except (Refused, BackendError) as error:
                context.abort(error.code, error.detail)
            raise AssertionError("abort raises")

        return answer


def _seconds_left(context: grpc.ServicerContext) -> float | None:
    """What is left of the caller's deadline; gRPC tells a call without one that hundreds of millions of years are left."""
    left = context.time_remaining()
    return None if left is None or left > _NO_DEADLINE else left


def _id_in_headers(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    """The id in the headers; None when there is none."""
    headers = dict(metadata)
    binary, text = headers.get("mm-model-id-bin"), headers.get("mm-model-id")
    try:
        return _text(text if binary is None else binary)
    except UnicodeDecodeError as error:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "The header mm-model-id-bin is not UTF-8.") from error


def _text(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
