"""Client and server classes of the service ``mmesh.ModelRuntime``, in the style of gRPC's code generator.

Written by hand because the generator would put our own package name into the paths: on the wire the service is
``/mmesh.ModelRuntime/...``, as model-mesh and caikit have it, while the messages are registered under our own name, so
that this module and caikit's ``model_runtime_pb2_grpc`` load in one process. The public names and arguments are the
generated ones (seed: ``caikit.runtime.protobufs.model_runtime_pb2_grpc``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import grpc

from infra_validator.protos import model_runtime_pb2 as pb2

SERVICE = "mmesh.ModelRuntime"


class _Method(NamedTuple):
    request: Any
    response: Any


#: Every RPC of the service, with its messages.
METHODS: dict[str, _Method] = {
    "loadModel": _Method(pb2.LoadModelRequest, pb2.LoadModelResponse),
    "unloadModel": _Method(pb2.UnloadModelRequest, pb2.UnloadModelResponse),
    "predictModelSize": _Method(pb2.PredictModelSizeRequest, pb2.PredictModelSizeResponse),
    "modelSize": _Method(pb2.ModelSizeRequest, pb2.ModelSizeResponse),
    "runtimeStatus": _Method(pb2.RuntimeStatusRequest, pb2.RuntimeStatusResponse),
}


def path_of(method: str) -> str:
    """The full path of an RPC on the wire, e.g. ``/mmesh.ModelRuntime/loadModel``."""
    return f"/{SERVICE}/{method}"


class ModelRuntimeStub:
    """The client side: one callable for each RPC.

    Args:
      channel: a ``grpc.Channel``, or a ``grpc.aio.Channel`` for awaitable calls.
    """

    def __init__(self, channel: Any) -> None:
        self.loadModel = _callable(channel, "loadModel")
        self.unloadModel = _callable(channel, "unloadModel")
        self.predictModelSize = _callable(channel, "predictModelSize")
        self.modelSize = _callable(channel, "modelSize")
        self.runtimeStatus = _callable(channel, "runtimeStatus")


def _callable(channel: Any, method: str) -> Any:
    return channel.unary_unary(
        path_of(method),
        request_serializer=METHODS[method].request.SerializeToString,
        response_deserializer=METHODS[method].response.FromString,
    )


class ModelRuntimeServicer:
    """The server side. Subclass it; every method that is not overridden answers UNIMPLEMENTED."""

    def loadModel(self, request: pb2.LoadModelRequest, context: Any) -> pb2.LoadModelResponse:
        """Load a model; OK means that it serves now. Put the size in memory into the answer if it costs nothing more.

        FAILED_PRECONDITION or INVALID_ARGUMENT says that no attempt was made and no memory is used. model-mesh may cancel
        the call and sends unloadModel for the same id then: once that has answered OK, the model must neither be loaded
        nor become loaded.
        """
        raise _unimplemented(context)

    def unloadModel(self, request: pb2.UnloadModelRequest, context: Any) -> pb2.UnloadModelResponse:
        """Unload a model that was loaded, failed to load or is loading; answer when its memory is free. An id that nobody
        knows is answered OK at once."""
        raise _unimplemented(context)

    def predictModelSize(self, request: pb2.PredictModelSizeRequest, context: Any) -> pb2.PredictModelSizeResponse:
        """Say how large a model will be, high rather than low, without loading it, and within 500 ms."""
        raise _unimplemented(context)

    def modelSize(self, request: pb2.ModelSizeRequest, context: Any) -> pb2.ModelSizeResponse:
        """Say how much memory a loaded model takes; never 0."""
        raise _unimplemented(context)

    def runtimeStatus(self, request: pb2.RuntimeStatusRequest, context: Any) -> pb2.RuntimeStatusResponse:
        """Say whether loads may come, and the parameters. model-mesh asks while it starts, and never again.

        Every model that is loaded or loading must be dropped before the answer is READY: a call means that the model-mesh
        container is new and knows of no model.
        """
        raise _unimplemented(context)


def _unimplemented(context: Any) -> NotImplementedError:
    context.set_code(grpc.StatusCode.UNIMPLEMENTED)
    context.set_details("Method not implemented!")
    return NotImplementedError("Method not implemented!")


def add_ModelRuntimeServicer_to_server(servicer: Any, server: Any) -> None:
    """Register ``servicer`` with ``server`` (a ``grpc.Server`` or a ``grpc.aio.Server``) under ``/mmesh.ModelRuntime/``."""
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, name),
            request_deserializer=method.request.FromString,
            response_serializer=method.response.SerializeToString,
        )
        for name, method in METHODS.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


def _static(method: str) -> Callable[..., Any]:
    def call(
        request: Any,
        target: str,
        options: Sequence[tuple[str, Any]] = (),
        channel_credentials: grpc.ChannelCredentials | None = None,
        call_credentials: grpc.CallCredentials | None = None,
        insecure: bool = False,
        compression: grpc.Compression | None = None,
        wait_for_ready: bool | None = None,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, str | bytes]] | None = None,
    ) -> Any:
        from grpc import experimental

        return experimental.unary_unary(
            request,
            target,
            path_of(method),
            METHODS[method].request.SerializeToString,
            METHODS[method].response.FromString,
            options=options,
            channel_credentials=channel_credentials,
            insecure=insecure,
            call_credentials=call_credentials,
            compression=compression,
            wait_for_ready=wait_for_ready,
            timeout=timeout,
            metadata=metadata,
        )

    call.__name__ = method
    call.__qualname__ = f"ModelRuntime.{method}"
    call.__doc__ = f"Call {path_of(method)} at ``target`` over a channel that gRPC keeps for later calls."
    return call


class ModelRuntime:
    """Calls without a stub; part of gRPC's EXPERIMENTAL API, as the generated class is."""

    loadModel = staticmethod(_static("loadModel"))
    unloadModel = staticmethod(_static("unloadModel"))
    predictModelSize = staticmethod(_static("predictModelSize"))
    modelSize = staticmethod(_static("modelSize"))
    runtimeStatus = staticmethod(_static("runtimeStatus"))
