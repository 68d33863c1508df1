"""The conformance test finds each departure, in a runtime that is right but for it."""

from __future__ import annotations

import contextlib
import json
import pathlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest

from component_tests.fakes.model_runtime.departing_runtime import DepartingRuntime
from infra_validator.conformance.points import Departure, Outcome, Result
from infra_validator.conformance.report import as_json, as_junit, line, summary
from infra_validator.model_runtime import add_ModelRuntimeServicer_to_server
from infra_validator.model_runtime.conformance.points import POINTS
from infra_validator.model_runtime.conformance.run import Model, Subject, run

#: what the runtime does wrong -> the points that must find it
FOUND_BY = {
    **{point.name: [point.name] for point in POINTS},
    "cancel": ["cancel-then-unload", "unload-then-cancel", "disconnect"],
    "load-counts": ["load-again"],
}
#: broken by what stands in the table above under another name
del FOUND_BY["cancel-then-unload"], FOUND_BY["unload-then-cancel"], FOUND_BY["disconnect"], FOUND_BY["load"]


@contextlib.contextmanager
def subject_of(path: pathlib.Path, *wrong: str) -> Iterator[Subject]:
    server = grpc.server(futures.ThreadPoolExecutor(32))
    runtime = DepartingRuntime(*wrong)
    add_ModelRuntimeServicer_to_server(runtime, server)
    server.add_generic_rpc_handlers((runtime,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    subject = Subject(f"127.0.0.1:{port}", [Model("m", str(path))])
    try:
        with contextlib.suppress(Departure):
            subject.ask_status(20)
        yield subject
    finally:
        subject.close()
        server.stop(None).wait()


def results_of(path: pathlib.Path, wrong: list[str], names: list[str]) -> list[Result[Subject]]:
    with subject_of(path, *wrong) as subject:
        return run(subject, [point for point in POINTS if point.name in names], lambda _: None)


def test_a_runtime_that_is_right_passes_every_point(tmp_path: pathlib.Path) -> None:
    results = results_of(tmp_path, [], [point.name for point in POINTS])
    assert {r.point.name: r.detail for r in results if r.outcome is not Outcome.PASSED} == {}


@pytest.mark.parametrize("wrong", sorted(FOUND_BY))
def test_each_departure_is_found(tmp_path: pathlib.Path, wrong: str) -> None:
    results = results_of(tmp_path, [wrong], FOUND_BY[wrong])
    assert len(results) == len(FOUND_BY[wrong])
    for result in results:
        assert result.outcome is (Outcome.FAILED if result.point.must else Outcome.ADVICE), result.point.name
        assert result.detail


def test_what_cannot_be_tested_is_not_judged(tmp_path: pathlib.Path) -> None:
    (result,) = results_of(tmp_path, ["method-infos"], ["inference-unknown"])
    assert result.outcome is Outcome.NOT_JUDGED
    assert "no --method was given" in result.detail


def test_the_reports_say_what_model_mesh_would_do(tmp_path: pathlib.Path) -> None:
    results = results_of(tmp_path, ["purge-loaded", "empty-id"], ["load", "empty-id", "purge-loaded"])
    assert summary(results) == "1 passed, 1 failed, 1 advice, 0 not judged"
    assert "model-mesh: A restarted model-mesh knows of no model" in line(results[2])
    told = json.loads(as_json("host:1", results))
    assert (told["conforms"], [point["outcome"] for point in told["points"]]) == (False, ["passed", "advice", "failed"])
    suite = ET.fromstring(as_junit("host:1", results))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    assert "A restarted model-mesh" in (suite.findtext("testcase/failure") or "")


def test_every_point_has_a_sentence_and_a_consequence() -> None:
    assert len({point.name for point in POINTS}) == len(POINTS)
    for point in POINTS:
        assert point.title.endswith("."), point.name
        assert point.consequence.endswith("."), point.name
