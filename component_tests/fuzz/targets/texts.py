"""Specs, verdicts and lists that people, other tools and other versions wrote."""

from __future__ import annotations

import base64
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from component_tests.fuzz.target import Target, from_file, varied
from infra_validator.cli.report import _read, _Unreadable
from infra_validator.cli.verify import _read as read_blessing
from infra_validator.core.errors import InfrastructureError, SpecError, UsageError
from infra_validator.fleet.merging import merged
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.report.formats.every_format import FORMATS
from infra_validator.serving_binaries.layouts.triton_config import read_config
from infra_validator.serving_binaries.model_config_file import read_model_config
from infra_validator.specs import LoadSpec, RequestSpec, ServingSpec, ValidationSpec
from infra_validator.validation.answers.compared.golden_file import read_golden_file
from infra_validator.validation.baseline.earlier_verdict import read_verdict

GOOD_SPEC: Mapping[str, Any] = {
    "tensorflow_serving": {"tags": ["2.19.0", "latest"], "advisory": ["latest"], "extra_args": ["--flush_filesystem_caches=false"]},
    "kubernetes": {
        "namespace": "ml",
        "service_account_name": "validator",
        "serving_pod_overrides": {
            "annotations": {"a": "b"},
            "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "2Gi"}},
        },
        "pod_template": {"spec": {"tolerations": [{"key": "gpu", "operator": "Exists"}]}},
        "model": {"host_path": {"path": "/models"}},
    },
    "model_name": "m",
}  # fmt: skip
GOOD_VERDICT: Mapping[str, Any] = {
    "schema_version": 2,
    "verdict": "BLESSED",
    "reason": "BLESSED",
    "detail": "",
    "model": "m/1",
    "model_name": "m",
    "model_digest": "sha256:00",
    "started_at": 1.0e9,
    "seconds": 2.5,
    "evidence": {"level": "ANSWERED", "requests": 3, "checks": [{"name": "served_model", "outcome": "PASSED"}]},
    "serving_binaries": [
        {
            "label": "tensorflow/serving:2.19.0",
            "verdict": "BLESSED",
            "attempts": [
                {
                    "number": 1,
                    "reason": "BLESSED",
                    "phases": [{"name": "load", "seconds": 1.5, "outcome": "ok"}],
                    "server_log_tail": "hello",
                    "restrictions": ["no capabilities"],
                    "measurements": {
                        "load": {
                            "windows": [{"latency_ms": {"p50": 1.0, "p99": 2.0}, "throughput": 10.0, "errors": 0}],
                            "mode": "closed",
                            "concurrency": 4,
                        },
                        "memory": {"peak_bytes": 1, "points": [[0.0, 1]]},
                        "limits": [{"name": "latency_p99_ms", "limit": 5, "measured": 2.0, "outcome": "PASSED"}],
                    },
                }
            ],
        }
    ],
    "warnings": ["one"],
}


def _spec(path: str) -> None:
    for kind in (ServingSpec, ValidationSpec, RequestSpec):
        try:
            kind.of(path)
        except (SpecError, UsageError, InfrastructureError):
            pass


def _spec_fields(data: bytes) -> None:
    spec = ServingSpec.of(varied(GOOD_SPEC, data))
    assert ServingSpec.of(spec.to_dict()) == spec


def _verdict(path: str) -> None:
    for read in (read_blessing, lambda path: read_verdict(path, LoadSpec())):
        try:
            read(path)
        except UsageError:
            pass
    verdict = _read(pathlib.Path(path))
    _shown(verdict)


def _shown(verdict: Mapping[str, Any]) -> None:
    for form in FORMATS.values():
        assert form.of_one(verdict)
        assert form.of_several([("a", verdict), ("b", verdict)])


def _verdict_fields(data: bytes) -> None:
    verdict = varied(GOOD_VERDICT, data)
    if isinstance(verdict, dict) and isinstance(verdict.get("verdict"), str):
        _shown(verdict)


_SIGNATURES = {"serving_default": tf.SignatureDef(method_name="tensorflow/serving/predict")}
GOOD_GOLDEN: Mapping[str, Any] = {
    "schema_version": 1,
    "tool": "infra-validator 0.1.0",
    "model_digest": "sha256:00",
    "signatures": {"serving_default": base64.b64encode(_SIGNATURES["serving_default"].SerializeToString()).decode()},
    "answers": [
        {
            "label": "request 1",
            "method": "/tensorflow.serving.PredictionService/Predict",
            "signature": "serving_default",
            "rows": 1,
            "output_filter": ["y"],
            "request": "CgMKAW0=",
            "answer": "",
        }
    ],
}


def _golden_fields(data: bytes) -> None:
    _read_golden(json.dumps(varied(GOOD_GOLDEN, data)).encode())


_read_golden = from_file(lambda path: read_golden_file(path, _SIGNATURES, "m"))


def _triton(data: bytes) -> None:
    read_config(data.decode(errors="replace"))


TARGETS = (
    Target("spec_file", from_file(_spec)),
    Target("spec_fields", _spec_fields, (SpecError, UsageError)),
    Target("verdict_file", from_file(_verdict, "verdict.json"), (_Unreadable, UsageError)),
    Target("verdict_fields", _verdict_fields),
    Target("golden_file", _read_golden, (UsageError,)),
    Target("golden_fields", _golden_fields, (UsageError,)),
    Target("fleet_file", from_file(lambda path: merged([path], None), "fleet.json"), (UsageError,)),
    Target("model_config", from_file(lambda path: read_model_config(path, "m")), (SpecError, UsageError)),
    Target("triton_config", _triton, (ValueError,)),
)
