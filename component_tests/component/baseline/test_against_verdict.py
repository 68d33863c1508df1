"""A model against an earlier verdict: its load runs are the baseline, and files that are none are told by their fields."""

from __future__ import annotations

import copy
import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from component_tests.component.baseline.compared import Models
from component_tests.fakes.saved_models import SavedModels
from infra_validator import ReasonCode, ServingSpec, ValidationSpec, Verdict
from infra_validator.core.errors import SpecError
from infra_validator.report.measurements import LimitOutcome
from infra_validator.specs.named_files import named_files

LIMITS = {"latency": [{"percentile": "p50", "at_most_times": 1.5}], "throughput_at_least_times": 0.7}
LOAD = {"seconds": 5, "warm_up_seconds": 0, "at_most_seconds": 20}
USUAL, SLOWER = [30], [90]  # milliseconds; long beside the delays of a busy machine, which are other ones each time


@pytest.fixture(scope="module")
def models(saved_models: SavedModels, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(saved_models, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def earlier(models: Models) -> dict[str, Any]:
    """What a validation of the baseline wrote."""
    report = models.compare(models.model("old", delays_ms=USUAL), None, {}, LOAD)
    assert report.blessed
    return dict(json.loads(report.to_json()))


def test_a_slower_model_is_rejected_and_one_as_fast_is_blessed(
    models: Models, earlier: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    (tmp_path / "verdict.json").write_text(json.dumps(earlier))
    slower = models.compare(
        models.model("slower", delays_ms=SLOWER), None, LIMITS, LOAD, baseline_verdict=str(tmp_path)
    )
    assert (slower.verdict, slower.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.LIMIT_EXCEEDED)
    measured = slower.serving_binaries[0].measurements
    assert measured is not None
    assert measured.baseline is not None
    assert not measured.baseline.interleaved
    assert [one.outcome for one in measured.baseline.ratios] == [LimitOutcome.EXCEEDED, LimitOutcome.EXCEEDED]

    path = str(tmp_path / "verdict.json")
    same = models.compare(models.model("same", delays_ms=USUAL), None, LIMITS, LOAD, baseline_verdict=path)
    assert same.blessed, same.finding.sentence
    assert same.baseline == path
    assert any("at another time" in warning for warning in same.warnings)


def test_what_the_verdict_did_not_measure_is_told(
    models: Models, earlier: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    other = copy.deepcopy(earlier)
    other["serving_binaries"][0]["attempts"][-1]["measurements"]["load"][0]["batch_size"] = 7
    (tmp_path / "verdict.json").write_text(json.dumps(other))
    report = models.compare(models.model("asked"), None, LIMITS, LOAD, baseline_verdict=str(tmp_path / "verdict.json"))
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.BASELINE_FAILED)
    assert "no load with serving_default, batch size 2" in report.finding.detail


def test_its_signatures_are_what_the_models_are_held_against(
    models: Models, earlier: dict[str, Any], saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "verdict.json").write_text(json.dumps(earlier))
    report = models.compare(
        saved_models.path("two_inputs"), None, LIMITS, LOAD, baseline_verdict=str(tmp_path / "verdict.json")
    )
    assert report.finding.reason is ReasonCode.SIGNATURE_BROKE


def measurements(verdict: dict[str, Any]) -> Any:
    return verdict["serving_binaries"][0]["attempts"][0]["measurements"]


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another file": (lambda v: v.pop("verdict"), "is no verdict of infra-validator"),
    "no binaries": (lambda v: v.pop("serving_binaries"), "serving_binaries: is no list"),
    "binaries of another type": (lambda v: v.update(serving_binaries=[3]), "serving_binaries[0].attempts: is no list"),
    "nothing measured": (lambda v: measurements(v)["load"].clear(), "holds no measurements of a server under load"),
    "no histogram": (lambda v: measurements(v)["load"][0].update(histogram=""), "load[0].histogram: "),
    "a damaged histogram": (lambda v: measurements(v)["load"][0].update(histogram="AAAA"), "load[0].histogram: "),
    "a number as histogram": (lambda v: measurements(v)["load"][0].update(histogram=3), "histogram: must be a string"),
    "no requests": (lambda v: measurements(v)["load"][0].update(requests=0), "load[0].requests: must be above 0"),
    "windows of another type": (
        lambda v: measurements(v)["load"][0].update(windows=[1]),
        "load[0].windows[0]: must be an object",
    ),
    "another load": (lambda v: measurements(v)["load"][0].update(concurrency=9), "another load (mode closed, concurrency 9)"),
    "signatures of another type": (lambda v: v.update(signatures=[1]), ".signatures: must be an object"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_no_such_verdict_is_told_by_its_field_and_nothing_is_started(
    models: Models, earlier: dict[str, Any], saved_models: SavedModels, tmp_path: pathlib.Path, name: str
) -> None:
    spoil, told = HOSTILE[name]
    verdict = copy.deepcopy(earlier)
    spoil(verdict)
    file = tmp_path / "earlier.json"
    file.write_text(json.dumps(verdict))
    with pytest.raises(SpecError) as error:
        models.compare(saved_models.path("half_plus_two_tf2"), None, LIMITS, LOAD, baseline_verdict=str(file))
    assert "validation_spec.baseline_verdict" in str(error.value)
    assert told in str(error.value)


def test_the_cache_key_of_a_pipeline_holds_the_verdict(earlier: dict[str, Any], tmp_path: pathlib.Path) -> None:
    (tmp_path / "verdict.json").write_text(json.dumps(earlier))
    files = {
        field: path
        for given in (tmp_path, tmp_path / "verdict.json")
        for field, path in named_files(
            serving_spec=ServingSpec.of({"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}),
            validation_spec=ValidationSpec.of({"baseline_verdict": str(given)}),
        ).items()
    }
    assert files == {"validation_spec.baseline_verdict": str(tmp_path / "verdict.json")}
