"""Backend name to backend, imported when used: ours, and those of plug-ins."""

from __future__ import annotations

import importlib
import importlib.metadata

from infra_validator.core.errors import UsageError
from infra_validator.model_runtime.backends.base_backend import Backend, BackendSettings

#: name -> ``module:callable`` that takes BackendSettings
BACKENDS = {
    "embedded": "infra_validator.model_runtime.backends.embedded:EmbeddedBackend",
    "tensorflow_serving": "infra_validator.model_runtime.backends.tensorflow_serving:TensorFlowServingBackend",
}

ENTRY_POINTS = "infra_validator.model_runtime_backends"


def make_backend(name: str, settings: BackendSettings) -> Backend:
    """The backend called ``name``.

    Raises:
      UsageError: nothing is called so.
      InfrastructureError: what it needs is not installed.
    """
    if name in BACKENDS:
        module, _, attribute = BACKENDS[name].partition(":")
        make = getattr(importlib.import_module(module), attribute)
    else:
        points = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
        if name not in points:
            raise UsageError(f"There is no backend {name!r}; there are {', '.join([*BACKENDS, *points])}.")
        make = points[name].load()
    backend = make(settings)
    assert isinstance(backend, Backend), f"the plug-in {name} made a {type(backend).__name__}, which is no Backend"
    return backend
