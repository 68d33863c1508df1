"""A model against a baseline: two real servers side by side, with injected delays, deaths and refusals."""

from __future__ import annotations

import json
import pathlib

import pytest

from component_tests.component.baseline.compared import SHORT, Models
from component_tests.fakes.saved_models import ROOT, SavedModels
from infra_validator import Interruption, ReasonCode, ValidationSpec, Verdict
from infra_validator.cli.main import main
from infra_validator.core.errors import SpecError
from infra_validator.model_server_runners.cleanup.watchdog import marked_processes
from infra_validator.report.measurements import LimitOutcome
from infra_validator.report.verdict import ValidationReport
from infra_validator.saved_model.digest import model_digest

P50 = {"latency": [{"percentile": "p50", "at_most_times": 1.5}]}


@pytest.fixture
def models(saved_models: SavedModels, tmp_path: pathlib.Path) -> Models:
    return Models(saved_models, tmp_path)


def outcome(report: ValidationReport) -> tuple[Verdict, ReasonCode]:
    return report.verdict, report.finding.reason


def nothing_is_left(models: Models) -> bool:
    return marked_processes(f"BASELINE_TESTS={models.folder}") == []


def test_a_slower_model_is_rejected_by_how_many_times(models: Models) -> None:
    model, baseline = models.model("new", delays_ms=[30]), models.model("old", delays_ms=[10])
    report = models.compare(model, baseline, {**P50, "throughput_at_least_times": 0.95})
    assert outcome(report) == (Verdict.NOT_BLESSED, ReasonCode.LIMIT_EXCEEDED)
    latency, throughput = report.serving_binaries[0].measurements.baseline.ratios  # type: ignore[union-attr]
    assert latency.outcome is throughput.outcome is LimitOutcome.EXCEEDED
    assert latency.low is not None
    assert latency.low > 1.5
    assert throughput.high is not None
    assert throughput.high < 0.95
    assert "against the baseline" in report.finding.detail
    assert nothing_is_left(models)


def test_a_model_as_fast_as_its_baseline_is_blessed_and_both_are_in_the_report(models: Models) -> None:
    model, baseline = models.model("new", delays_ms=[10]), models.model("old", delays_ms=[10, 10.5])
    report = models.compare(model, baseline, {**P50, "throughput_at_least_times": 0.5})
    assert outcome(report) == (Verdict.BLESSED, ReasonCode.BLESSED)
    assert (report.baseline, report.baseline_digest) == (str(baseline), model_digest(str(baseline)))
    measured = report.serving_binaries[0].measurements
    assert measured is not None
    assert measured.baseline is not None
    assert measured.baseline.interleaved
    assert measured.baseline.blocks >= 8
    assert [run.signature for run in measured.load] == [run.signature for run in measured.baseline.load]
    assert all(run.requests > 8 for run in (*measured.load, *measured.baseline.load))
    assert [ratio.outcome for ratio in measured.baseline.ratios] == [LimitOutcome.KEPT, LimitOutcome.KEPT]
    assert set(measured.baseline.ratios) <= set(measured.limits)
    assert nothing_is_left(models)


def test_a_limit_at_the_ratio_itself_is_too_noisy_to_decide(models: Models) -> None:
    uneven = [6, 90, 15, 33, 9, 75, 51, 12, 27, 120, 18]  # long beside the delays of a busy machine
    model, baseline = models.model("new", delays_ms=uneven), models.model("old", delays_ms=uneven)
    limits = {"throughput_at_least_times": 1.0}
    report = models.compare(model, baseline, limits, {"seconds": 1.2, "warm_up_seconds": 0, "at_most_seconds": 3})
    assert outcome(report) == (Verdict.INCONCLUSIVE, ReasonCode.TOO_NOISY)
    assert "noise" in report.finding.detail
    assert "at_most_seconds" in report.finding.next_step
    advisory = models.compare(
        model, baseline, {**limits, "advisory": True}, {"seconds": 0.4, "warm_up_seconds": 0, "at_most_seconds": 1}
    )
    assert advisory.blessed
    assert any("advisory" in warning for warning in advisory.warnings)


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        ({"crashes": True}, "SERVER_KILLED"),
        ({"dies_at": 20}, "SERVER_KILLED"),
        ({"refuses": True}, "not this one"),
    ],
)
def test_what_the_baseline_does_is_not_the_models_fault(
    models: Models, behaviour: dict[str, object], cause: str
) -> None:
    model, baseline = models.model("new"), models.model("old", of="half_plus_two_tf2", **behaviour)
    report = models.compare(model, baseline, P50)
    assert outcome(report) == (Verdict.INCONCLUSIVE, ReasonCode.BASELINE_FAILED)
    assert str(baseline) in report.finding.detail
    assert cause in report.finding.detail
    assert [run.errors for run in report.serving_binaries[0].measurements.load] == [0]  # type: ignore[union-attr]
    assert nothing_is_left(models)


def test_a_bad_model_is_rejected_whatever_the_baseline_does(models: Models) -> None:
    baseline = models.model("old", crashes=True)
    report = models.compare(models.model("refuses", refuses=True), baseline, P50)
    assert outcome(report) == (Verdict.NOT_BLESSED, ReasonCode.REQUEST_FAILED)
    absolute = {"latency": [{"percentile": "p50", "at_most_times": 1.5, "at_most_ms": 1}]}
    report = models.compare(models.model("slow", delays_ms=[20]), baseline, absolute)
    assert outcome(report) == (Verdict.NOT_BLESSED, ReasonCode.LIMIT_EXCEEDED)
    report = models.compare(models.model("dies", dies_at=9), models.model("good"), P50)
    assert outcome(report) == (Verdict.NOT_BLESSED, ReasonCode.SERVER_KILLED)
    assert nothing_is_left(models)


def test_a_baseline_that_is_no_model_is_told_once_the_model_was_judged(
    models: Models, saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    model = models.model("new")
    for baseline in (tmp_path / "gone", saved_models.path("garbage_pb"), saved_models.path("missing_shard")):
        report = models.compare(model, baseline, P50)
        assert outcome(report) == (Verdict.INCONCLUSIVE, ReasonCode.BASELINE_FAILED)
        assert str(baseline) in report.finding.detail
        assert report.evidence.requests > 0


def test_where_there_is_no_baseline_yet_what_is_relative_is_not_applied_and_that_is_said(models: Models) -> None:
    report = models.compare(models.model("new"), "", P50)
    assert report.blessed
    told = "There is no baseline yet: not applied: validation_spec.limits.latency[0].at_most_times."
    assert told in report.warnings
    with pytest.raises(SpecError, match=r"latency\[0\].at_most_times: .*there is no baseline"):
        models.compare(models.model("newer"), None, P50)


def test_the_baselines_signatures_are_kept_or_the_model_is_rejected_before_a_server_starts(
    models: Models, saved_models: SavedModels
) -> None:
    model = models.model("new")
    report = models.compare(model, saved_models.path("two_inputs"), P50)
    assert outcome(report) == (Verdict.NOT_BLESSED, ReasonCode.SIGNATURE_BROKE)
    assert report.serving_binaries[0].attempts == ()
    # What is expected is said otherwise, and outweighs the baseline's signatures; the baseline lacks nothing that is asked.
    report = models.compare(model, models.model("old"), P50, expected_signature=str(model))
    assert outcome(report) == (Verdict.BLESSED, ReasonCode.BLESSED)


def test_the_ready_config_is_kept_by_a_model_like_its_baseline(models: Models) -> None:
    """Its limits are held as they stand; only the time is shorter, and the limits are so wide that a busy machine keeps them."""
    spec = ValidationSpec.of(ROOT / "configs" / "validation" / "no_slower_than_baseline.yaml").to_dict()
    spec["limits"]["latency"][0]["at_most_times"] = spec["limits"]["latency"][1]["at_most_times"] = 3
    spec["limits"].update(throughput_at_least_times=0.3, memory={"at_most_times": 3})
    report = models.compare(models.model("new"), models.model("old"), spec["limits"], {**spec["load"], "seconds": 3})
    assert outcome(report) == (Verdict.BLESSED, ReasonCode.BLESSED)
    kinds = sorted(name.split()[0] for name in (limit.name for _, limit in report.limits) if "baseline" in name)
    assert kinds == ["latency.p50", "latency.p90", "memory", "throughput"]


def test_a_validation_that_is_interrupted_leaves_neither_server(models: Models) -> None:
    interruption = Interruption()

    def interrupt(line: str) -> None:
        if "starting another server" in line:
            interruption.set("SIGTERM")

    report = models.compare(
        models.model("new"), models.model("old"), P50, on_progress=interrupt, interruption=interruption
    )
    assert outcome(report) == (Verdict.INCONCLUSIVE, ReasonCode.INTERRUPTED)
    assert nothing_is_left(models)


def test_a_baseline_that_changes_meanwhile_is_told(models: Models) -> None:
    model, baseline = models.model("new"), models.model("old")

    def change(line: str) -> None:
        if "starting another server" in line:
            (baseline / "saved_model.pb").write_bytes(b"another")

    report = models.compare(model, baseline, P50, on_progress=change)
    assert outcome(report) == (Verdict.INCONCLUSIVE, ReasonCode.MODEL_CHANGED)
    assert str(baseline) in report.finding.detail


def test_on_the_command_line(models: Models, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, baseline = models.model("new", delays_ms=[30]), models.model("old")
    (tmp_path / "requests.json").write_text('{"instances": [1.0]}')
    limits = json.dumps({"limits": P50, "load": SHORT, "num_tries": 1})
    arguments = ["validate", "--model", str(model), "--serving-spec", json.dumps(models.serving_spec), "--quiet"]
    arguments += ["--requests", str(tmp_path / "requests.json"), "--validation-spec", limits]
    assert main([*arguments, "--baseline-model", str(baseline)]) == 1
    assert "NOT_BLESSED LIMIT_EXCEEDED" in capsys.readouterr().out
    assert main([*arguments, "--baseline-model", str(tmp_path / "gone")]) == 2
    assert "--baseline-model ''" in capsys.readouterr().out
    assert main(arguments) == 2
    assert "there is no baseline" in capsys.readouterr().out
    assert main([*arguments, "--baseline-model", ""]) == 0
    assert "There is no baseline yet" in capsys.readouterr().out
    assert main([*arguments, "--baseline-model", str(baseline), "--dry-run"]) == 0
