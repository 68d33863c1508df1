"""Every serving binary of a spec proves the warm-up for itself: two images in pods, the model uploaded to each."""

from __future__ import annotations

import pathlib

import pytest

from component_tests.fakes.kubernetes_api import FakeCluster
from component_tests.fakes.kubernetes_pods import misbehaving_image
from component_tests.fakes.saved_models import SavedModels
from infra_validator import run_validation
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import ValidationReport
from infra_validator.validation.warmup.warmed_copy import LocalWarmedCopy

pytestmark = pytest.mark.slow


def validated(folder: pathlib.Path, model: pathlib.Path, second: str, advisory: list[str]) -> ValidationReport:
    """Of an image that is good and of one whose server is ``second``; the warmed copy is kept where it is blessed."""
    images = {"server:1": misbehaving_image("good"), "server:2": misbehaving_image(second)}
    with FakeCluster(images=images) as cluster, LocalWarmedCopy(str(folder / "warmed"), str(model)) as warmed:
        report = run_validation(
            model,
            {
                "tensorflow_serving": {"image_name": "server", "tags": ["1", "2"], "advisory": advisory},
                "kubernetes": {"kubeconfig": cluster.kubeconfig(folder), "model": {"upload": {}}},
                "model_name": "m",
            },
            {"num_tries": 1, "stop_grace_seconds": 0.3},
            {"generate": {}},
            warmed=warmed,
        )
        cluster.wait_for(lambda: not cluster.pods())
        if report.blessed:
            warmed.keep()
    return report


def test_each_has_its_own_figures(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    report = validated(tmp_path, saved_models.path("half_plus_two_tf2"), "slow_without_warmup", [])
    assert report.blessed, report.finding
    proofs = [binary.measurements.warm_up for binary in report.serving_binaries if binary.measurements]
    assert [proof.records for proof in proofs if proof] == [1, 1]
    assert [proof.without_ms is not None and proof.without_ms >= 500 for proof in proofs if proof] == [False, True]


@pytest.mark.parametrize(("advisory", "blessed"), [([], False), (["2"], True)], ids=["decides", "advisory"])
def test_one_that_refuses_it(
    saved_models: SavedModels, tmp_path: pathlib.Path, advisory: list[str], blessed: bool
) -> None:
    report = validated(tmp_path, saved_models.path("half_plus_two_tf2"), "refuses_warmup", advisory)
    good, refusing = report.serving_binaries
    assert (good.finding.reason, refusing.finding.reason) == (ReasonCode.BLESSED, ReasonCode.WARMUP_FAILED)
    assert report.blessed == blessed
    assert (tmp_path / "warmed").exists() == blessed
