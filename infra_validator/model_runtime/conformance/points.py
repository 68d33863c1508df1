"""All points of model-mesh's ModelRuntime contract, in the order in which model-mesh would meet them."""

from __future__ import annotations

from infra_validator.model_runtime.conformance import loads as conformance_of_loads
from infra_validator.model_runtime.conformance import unloads as conformance_of_unloads

POINTS = (*conformance_of_loads.POINTS, *conformance_of_unloads.POINTS)
