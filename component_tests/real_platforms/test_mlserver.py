"""MLServer with a scikit-learn model, in an environment of its own, under whole validations over the Open Inference Protocol."""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.conftest import python_of
from infra_validator import run_validation, serving
from infra_validator.conformance.open_inference.points import POINTS
from infra_validator.conformance.open_inference.subject import Subject
from infra_validator.conformance.points import Outcome, run_points
from infra_validator.core.network.held_port import HeldPort
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.report.evidence import EvidenceLevel
from infra_validator.report.verdict import ValidationReport, Verdict

pytestmark = pytest.mark.mlserver

TRAIN = """
import sys
import joblib, numpy
from sklearn.linear_model import LogisticRegression
rows = numpy.random.default_rng(0).random((50, 4))
joblib.dump(LogisticRegression().fit(rows, (rows.sum(axis=1) > 2).astype(int)), sys.argv[1])
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A classifier of four numbers, named iris."""
    model = tmp_path_factory.mktemp("mlserver") / "iris"
    model.mkdir()
    subprocess.run([python_of("mlserver"), "-c", TRAIN, str(model / "model.joblib")], check=True, timeout=120)
    settings = {
        "name": "iris",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib", "version": "v1"},
    }
    (model / "model-settings.json").write_text(json.dumps(settings))
    return model


@pytest.fixture
def ports() -> Iterator[dict[str, int]]:
    """Ports that nobody else gets: MLServer is told them by its environment."""
    held = {name: HeldPort() for name in ("GRPC", "HTTP", "METRICS")}
    yield {name: port.port for name, port in held.items()}
    for port in held.values():
        port.release()


def spec_of(model: pathlib.Path, ports: dict[str, int], name: str = "iris", **more: Any) -> dict[str, Any]:
    fields = {"inputs": {"input": "FP64[-1,4]"}, "outputs": {"predict": "INT64[-1,1]"}, **more}
    return {
        "open_inference": {
            "command": [str(pathlib.Path(python_of("mlserver")).with_name("mlserver")), "start", str(model)],
            "env": {
                **{f"MLSERVER_{protocol}_PORT": str(port) for protocol, port in ports.items()},
                "MLSERVER_HOST": "127.0.0.1",
                "MLSERVER_PARALLEL_WORKERS": "0",
            },
            **fields,
        },
        "local_process": {"grpc_port": ports["GRPC"]},
        "model_name": name,
    }


def validated(
    model: pathlib.Path, ports: dict[str, int], name: str = "iris", seconds: float = 60, **more: Any
) -> ValidationReport:
    spec = spec_of(model, ports, name, **more)
    limits = {"num_tries": 1, "max_loading_time_seconds": seconds}
    return run_validation(model, spec, limits, {"generate": {}, "num_examples": 4, "batch_sizes": [1, 4]})


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_a_good_model_is_blessed(trained: pathlib.Path, ports: dict[str, int], typed: bool) -> None:
    report = validated(trained, ports, typed_contents=typed, model_version="v1")
    assert report.blessed, report.finding
    assert (report.evidence.level, report.evidence.requests) == (EvidenceLevel.ANSWERED, 5)


def test_a_server_that_is_ready_without_the_model_is_not_enough(trained: pathlib.Path, ports: dict[str, int]) -> None:
    report = validated(trained, ports, name="another", seconds=10)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.LOAD_TIMEOUT)
    assert "another" in report.finding.detail
    assert "not found" in report.finding.detail


def test_a_model_that_cannot_be_loaded_is_not_blessed(
    trained: pathlib.Path, ports: dict[str, int], tmp_path: pathlib.Path
) -> None:
    broken = tmp_path / "iris"
    broken.mkdir()
    (broken / "model-settings.json").write_text((trained / "model-settings.json").read_text())
    (broken / "model.joblib").write_bytes(b"no model")
    report = validated(broken, ports, seconds=15)
    assert report.verdict is Verdict.NOT_BLESSED
    assert report.finding.reason in (R.SERVER_EXITED, R.LOAD_TIMEOUT, R.MODEL_UNAVAILABLE)


def test_rows_that_the_model_does_not_take_are_told_in_its_words(trained: pathlib.Path, ports: dict[str, int]) -> None:
    report = validated(trained, ports, inputs={"input": "FP64[-1,3]"})
    assert report.verdict is not Verdict.BLESSED
    assert "features" in report.finding.detail


def test_where_it_departs_from_the_protocol(trained: pathlib.Path, ports: dict[str, int]) -> None:
    """What MLServer 1.7.1 is known to do otherwise; another release may do more of it right."""
    with serving(trained, spec_of(trained, ports)) as server:
        subject = Subject(server.grpc_address, "iris", inputs={"input": ("FP64", (2, 4))})
        try:
            results = run_points(subject, POINTS, lambda _: None)
        finally:
            subject.close()
    departs = {result.point.name: result.outcome for result in results if result.outcome is not Outcome.PASSED}
    assert departs == {
        "metadata-tensors": Outcome.ADVICE,
        "requested-output": Outcome.NOT_JUDGED,  # the model has one output
        "both-contents": Outcome.ADVICE,
        "unknown-input": Outcome.ADVICE,
    }
