"""Does the model really serve? A gate in front of the Pusher.

Importing this package imports nothing heavy: the names below are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from infra_validator._version import __version__

if TYPE_CHECKING:
    from infra_validator.api import run_validation, validate
    from infra_validator.core.errors import (
        InfrastructureError,
        InfraValidatorError,
        ModelRejected,
        SpecError,
        UsageError,
    )
    from infra_validator.core.reason_codes import ReasonCode
    from infra_validator.core.signals.interruption import Interruption
    from infra_validator.fleet.fleet import validate_fleet
    from infra_validator.fleet.fleet_report import FleetReport
    from infra_validator.plan import make_plan
    from infra_validator.report.verdict import ValidationReport, Verdict
    from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec
    from infra_validator.testing.running_server import serving

#: The public list: name -> the module that holds it.
_PUBLIC = {
    "FleetReport": "infra_validator.fleet.fleet_report",
    "InfraValidatorError": "infra_validator.core.errors",
    "InfrastructureError": "infra_validator.core.errors",
    "Interruption": "infra_validator.core.signals.interruption",
    "ModelRejected": "infra_validator.core.errors",
    "ReasonCode": "infra_validator.core.reason_codes",
    "RequestSpec": "infra_validator.specs",
    "ServingSpec": "infra_validator.specs",
    "SpecError": "infra_validator.core.errors",
    "UsageError": "infra_validator.core.errors",
    "ValidationReport": "infra_validator.report.verdict",
    "ValidationSpec": "infra_validator.specs",
    "Verdict": "infra_validator.report.verdict",
    "make_plan": "infra_validator.plan",
    "run_validation": "infra_validator.api",
    "serving": "infra_validator.testing.running_server",
    "validate": "infra_validator.api",
    "validate_fleet": "infra_validator.fleet.fleet",
}

__all__ = [
    "FleetReport",
    "InfraValidatorError",
    "InfrastructureError",
    "Interruption",
    "ModelRejected",
    "ReasonCode",
    "RequestSpec",
    "ServingSpec",
    "SpecError",
    "UsageError",
    "ValidationReport",
    "ValidationSpec",
    "Verdict",
    "__version__",
    "make_plan",
    "run_validation",
    "serving",
    "validate",
    "validate_fleet",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
