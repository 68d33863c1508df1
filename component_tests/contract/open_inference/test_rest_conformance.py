"""The conformance test over REST finds each departure, in a server that is right but for it."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from component_tests.contract.open_inference.test_rest import changed
from component_tests.fakes.servers.departing_open_inference import DepartingModel
from component_tests.fakes.servers.open_inference_rest import serving_rest
from component_tests.fakes.servers.open_inference_server import Model
from infra_validator.cli.main import main
from infra_validator.conformance.open_inference.points import POINTS
from infra_validator.conformance.open_inference.subject import Subject
from infra_validator.conformance.points import Outcome, Result, run_points

NAMES = [point.name for point in POINTS]

#: What the strict server's REST form refuses itself, whatever its model would answer; both-contents cannot be answered there.
REFUSED_BEFORE = {"missing-content", "unknown-datatype", "both-contents"}


def results_of(model: Model, names: Iterable[str] = NAMES, binary: bool = True) -> dict[str, Result[Subject]]:
    with serving_rest(model) as (endpoint, server):
        if not binary:
            body = b'{"name": "strict", "version": "1", "extensions": []}'
            server.change = lambda path, *rest: changed(200, body)(path) if path == "/v2" else rest
        subject = Subject(endpoint, "m", protocol="rest")
        try:
            results = run_points(subject, [point for point in POINTS if point.name in names], lambda _: None)
        finally:
            subject.close()
    return {result.point.name: result for result in results}


@pytest.mark.parametrize("binary", [True, False], ids=["binary data", "JSON only"])
def test_a_server_that_is_right_passes_every_point(binary: bool) -> None:
    results = results_of(DepartingModel(), binary=binary)
    others = {name: result.outcome for name, result in results.items() if result.outcome is not Outcome.PASSED}
    expected = {} if binary else dict.fromkeys(("infer-raw", "both-contents"), Outcome.NOT_JUDGED)
    assert others == expected


@pytest.mark.parametrize("wrong", [name for name in NAMES if name not in REFUSED_BEFORE | {"infer-typed", "infer-raw"}])
def test_each_departure_is_found(wrong: str) -> None:
    (result,) = results_of(DepartingModel(wrong), [wrong]).values()
    expected = Outcome.FAILED if result.point.must else Outcome.ADVICE
    assert (result.outcome, bool(result.detail)) == (expected, True), result.detail


def test_the_command_takes_a_url_or_a_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    with serving_rest(DepartingModel("request-id")) as (endpoint, _):
        for target in (["--target", f"http://{endpoint}/"], ["--target", endpoint, "--protocol", "rest"]):
            assert main(["conformance", "open-inference", "--model-name", "m", "--format", "json", *target]) == 1
            told = json.loads(capsys.readouterr().out)
            assert [point["name"] for point in told["points"] if point["outcome"] == "failed"] == ["request-id"]
    assert main(["conformance", "open-inference", "--model-name", "m", "--target", "https://a/b"]) == 2
