"""The conformance test finds each departure, in a server that is right but for it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable

import pytest

from component_tests.fakes.servers.departing_open_inference import DepartingModel
from component_tests.fakes.servers.open_inference_server import Model
from component_tests.fakes.servers.scripted_server import serving
from infra_validator.cli.main import main
from infra_validator.conformance.open_inference.points import POINTS
from infra_validator.conformance.open_inference.subject import Subject
from infra_validator.conformance.points import Outcome, Result, run_points

NAMES = [point.name for point in POINTS]


def results_of(model: Model, names: Iterable[str] = NAMES) -> dict[str, Result[Subject]]:
    with serving(model.handlers()) as (endpoint, _):
        subject = Subject(endpoint, "m")
        try:
            results = run_points(subject, [point for point in POINTS if point.name in names], lambda _: None)
        finally:
            subject.close()
    return {result.point.name: result for result in results}


@pytest.mark.parametrize("mode", ["", "typed"], ids=["raw", "typed"])
def test_a_server_that_is_right_passes_every_point(mode: str) -> None:
    model = DepartingModel()
    model.modes = (mode,) if mode else ()
    results = results_of(model)
    assert {name: result.detail for name, result in results.items() if result.outcome is not Outcome.PASSED} == {}


@pytest.mark.parametrize("wrong", NAMES)
def test_each_departure_is_found(wrong: str) -> None:
    (result,) = results_of(DepartingModel(wrong), [wrong]).values()
    expected = Outcome.FAILED if result.point.must else Outcome.ADVICE
    assert (result.outcome, bool(result.detail)) == (expected, True), result.detail


def test_without_metadata_and_inputs_little_can_be_judged() -> None:
    results = results_of(Model("m", "no_metadata"))
    not_judged = {name for name, result in results.items() if result.outcome is Outcome.NOT_JUDGED}
    assert {"infer-raw", "request-id", "wrong-length"} <= not_judged
    assert results["metadata-tensors"].outcome is Outcome.ADVICE
    assert results["model-ready"].outcome is Outcome.PASSED


def command(endpoint: str, *more: str) -> int:
    return main(["conformance", "open-inference", "--target", endpoint, "--model-name", "m", *more])


def test_the_command_says_what_departs(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(DepartingModel("request-id").handlers()) as (endpoint, _):
        assert command(endpoint) == 1
        out = capsys.readouterr().out
        assert "failed      request-id: The answer has the request's id." in out
        assert "callers: callers that ask side by side" in out
        assert command(endpoint, "--only", "model-ready") == 0
        capsys.readouterr()
        assert command(endpoint, "--format", "json") == 1
        told = json.loads(capsys.readouterr().out)
        assert (told["conforms"], len(told["points"])) == (False, len(POINTS))
        assert command(endpoint, "--format", "junit") == 1
        suite = ET.fromstring(capsys.readouterr().out)
        assert (suite.get("name"), suite.get("failures")) == ("inference.GRPCInferenceService", "1")


def test_the_command_takes_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Model("m", "no_metadata", inputs={"x": ("FP32", [-1]), "t": ("BYTES", [-1])}).handlers()) as (at, _):
        assert command(at, "--input", "x=FP32[2,3]", "--input", "t=BYTES[]", "--text", "ä", "--only", "infer-raw") == 0
        assert "1 passed" in capsys.readouterr().out
        for wrong in ("x=FP32[-1]", "x", "=FP32[1]", "x=FP3[1]"):
            assert command(at, "--input", wrong) == 2


def test_nobody_there_and_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("127.0.0.1:1", "--start-timeout", "0.2") == 3
    assert "was not reached within 0.2 s" in capsys.readouterr().err
    assert main(["conformance"]) == 2
    assert main(["conformance", "--help"]) == 0
    assert main(["conformance", "open-inference", "--list"]) == 0
    assert "wrong-length" in capsys.readouterr().out
