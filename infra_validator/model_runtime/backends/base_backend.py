"""What really loads and serves the models of a ModelRuntime: the interface of a backend.

A backend is called by the model table (model_table.py), which keeps the order: one call per id at a time, ``unload`` only
after a ``load`` that succeeded, never a call for an id while another one for the same id runs.

Plug-in: an entry point of the group ``infra_validator.model_runtime_backends`` names a function that takes
:class:`BackendSettings` and returns a Backend; its name is what ``--backend`` takes.
"""

from __future__ import annotations

import abc
import dataclasses
import threading
from collections.abc import Mapping

import grpc

from infra_validator.model_runtime.model_source import ModelSource

#: id injection paths (field numbers to the id string) by method, as runtimeStatus tells them.
MethodInfos = Mapping[str, tuple[int, ...]]

#: What TensorFlow Serving's prediction methods need: ``model_spec`` is field 1, ``name`` in it is field 1. MultiInference
#: cannot be listed: its ``tasks`` are repeated and model-mesh would put the id into the first one only.
TENSORFLOW_SERVING_METHODS: MethodInfos = {
    f"tensorflow.serving.PredictionService/{name}": (1, 1)
    for name in ("Predict", "Classify", "Regress", "GetModelMetadata")
}


class BackendError(Exception):
    """A backend could not do what it was asked.

    Args:
      code: the gRPC code that the caller is told. From ``load`` never INVALID_ARGUMENT or FAILED_PRECONDITION, which
        would say that no attempt was made.
      detail: what happened, in one sentence or the server's own words.
    """

    def __init__(self, code: grpc.StatusCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclasses.dataclass(frozen=True)
class BackendSettings:
    """What the command line hands to a backend.

    Attributes:
      model_root: the directory that all models are below.
      address: of the server that the backend drives, for backends that drive one.
      adapted_root: a directory that both the backend and that server see, for the layouts that it needs.
      load_timeout: seconds that one load may take.
    """

    model_root: str
    address: str = ""
    adapted_root: str = ""
    load_timeout: float = 90.0


class Backend(abc.ABC):
    """Loads, sizes, unloads and (maybe) serves models. All methods are called from several threads.

    Attributes:
      name: as ``--backend`` takes it.
      version: for ``runtimeVersion``.
      method_infos: the inference methods that model-mesh may forward.
      serves: whether ``infer`` works, so that inference is answered on the management port.
    """

    name: str
    version: str = ""
    method_infos: MethodInfos = {}
    serves: bool = False

    def why_not_ready(self, seconds: float) -> str:
        """Why models cannot be loaded yet, in one sentence; empty when they can. Called by runtimeStatus.

        Args:
          seconds: how long the question may take.
        """
        return ""

    @abc.abstractmethod
    def load(self, model_id: str, source: ModelSource, abandoned: threading.Event) -> int:
        """Load the model and return its measured size in bytes when it can be asked.

        Args:
          model_id: any non-empty text; never part of a path.
          source: where the SavedModel is.
          abandoned: set when nobody wants the model any more; a backend that can stop early raises BackendError then.

        Raises:
          BackendError: it was not loaded, and nothing of it is left.
        """

    @abc.abstractmethod
    def unload(self, model_id: str) -> None:
        """Return when the model is gone and its memory is free.

        Raises:
          BackendError: it may still be there; the call will be repeated.
        """

    def holds(self, model_id: str) -> bool:
        """Whether a model that was loaded is still there; another process may have lost it. Called before a load that would
        otherwise be answered at once.

        Raises:
          BackendError: nobody can tell.
        """
        return True

    def purge(self) -> None:
        """Drop what a former process of ours may have left in the server. Called when the table holds no model.

        Raises:
          BackendError: something may still be there.
        """

    def infer(self, model_id: str, method: str, request: bytes, seconds: float | None) -> bytes:
        """Answer one inference request for a loaded model.

        Args:
          method: e.g. ``tensorflow.serving.PredictionService/Predict``.
          request: the serialized request, as it came.
          seconds: what is left of the caller's deadline; None when there is none.

        Raises:
          BackendError: with the code and words for the caller; never NOT_FOUND, which means "not loaded".
        """
        raise BackendError(grpc.StatusCode.UNIMPLEMENTED, f"The backend {self.name} serves no inference on this port.")

    def close(self) -> None:
        """Give everything back. Called once, when no model is loaded."""
