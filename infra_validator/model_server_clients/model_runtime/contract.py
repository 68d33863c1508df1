"""What model-mesh expects of a ModelRuntime and does when it does not get it: numbers and checks, no talking.

Read from model-mesh's sources (archived in April 2026); docs/model_runtime.md says which.
"""

from __future__ import annotations

from infra_validator.protos import model_runtime_pb2 as pb2

START_SECONDS = 180.0  # how long model-mesh polls runtimeStatus before it gives up
PREDICTION_SECONDS = 0.5  # its deadline of predictModelSize
SIZE_SECONDS = 30.0  # its deadline of modelSize
#: modelKey of a model that is registered without one. Real adapters fail a load whose key is no JSON, the empty text included.
DEFAULT_KEY = "{}"
DEFAULT_PORT = 8085
DEFAULT_SOCKET = "unix:/tmp/mmesh/grpc.sock"

_MIB = 2**20


def parameters_problem(status: pb2.RuntimeStatusResponse) -> str:
    """What model-mesh refuses in a READY answer, in one clause; empty when nothing. Any of these ends its start."""
    return problem_of(
        status.capacityInBytes,
        status.defaultModelSizeInBytes,
        status.maxLoadingConcurrency,
        status.modelLoadingTimeoutMs,
    )


def problem_of(capacity: int, default_size: int, max_loading_concurrency: int, load_timeout_ms: int) -> str:
    """The same, before there is an answer: what model-mesh would refuse.

    Args:
      capacity: ``capacityInBytes``.
      default_size: ``defaultModelSizeInBytes``.
      max_loading_concurrency: ``maxLoadingConcurrency``.
      load_timeout_ms: ``modelLoadingTimeoutMs``, in milliseconds.
    """
    least = max(2 * default_size, min(512 * _MIB, 10 * default_size))
    if max_loading_concurrency < 1:
        return f"maxLoadingConcurrency must be 1 or more, not {max_loading_concurrency}"
    if default_size < 1:
        return "defaultModelSizeInBytes must be above 0"
    if not 100 <= load_timeout_ms < 2**32:
        return f"modelLoadingTimeoutMs must be 100 or more and fit 32 bits, not {load_timeout_ms}"
    if capacity < least:
        return (
            f"capacityInBytes must be at least {least} for a default model size of {default_size}, not {capacity}; "
            "give more memory or a smaller default"
        )
    return ""


def headers_of(model_id: str) -> tuple[tuple[str, str | bytes], ...]:
    """The headers with which model-mesh names the model: the text one only for printable ASCII."""
    headers: tuple[tuple[str, str | bytes], ...] = (("mm-model-id-bin", model_id.encode()),)
    if all(" " <= character <= "~" for character in model_id):
        headers += (("mm-model-id", model_id),)
    return headers


def may_be_forwarded(status: pb2.RuntimeStatusResponse, method: str) -> bool:
    """Whether model-mesh forwards a method (a full path) to this runtime at all."""
    name = method.lstrip("/")
    if name.startswith("mmesh.ModelRuntime/"):
        return False
    return not status.methodInfos or status.allowAnyMethod or name in status.methodInfos
