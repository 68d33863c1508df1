"""The example package in use: its names in specs, from the command line, from Python, and its tests."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from typing import Any

import pytest

from component_tests.component.extending.conftest import PACKAGE
from component_tests.fakes.saved_models import SavedModels
from infra_validator import RequestSpec, ServingSpec, SpecError, ValidationSpec, run_validation
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.specs.named_files import named_files
from infra_validator.specs.reader import to_json

NICE_FORMULA: dict[str, Any] = {"acme_formula": {}, "acme_nice": {"level": 5}}
RAMP: dict[str, Any] = {"acme_ramp": {"count": 20}}


def command(environment: dict[str, str], *arguments: str | os.PathLike[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra_validator", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_all_five_by_their_names_from_the_command_line(
    with_acme: dict[str, str], formula: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    spec, asked, limits = tmp_path / "serving.yaml", tmp_path / "request.json", tmp_path / "validation.yaml"
    spec.write_text("acme_formula: {}\nacme_nice:\n  level: 5\n")
    asked.write_text('{"acmeRamp": {"count": 20}}')  # as protobuf's JSON writes names
    limits.write_text("answers:\n  acme_steps: {output: y, step: 0.5}\n")
    specs = ("--serving-spec", spec, "--request-spec", asked, "--validation-spec", limits)
    planned = command(with_acme, "validate", "--model", formula, *specs, "--dry-run", "--format", "json")
    assert planned.returncode == 0, planned.stderr
    plan = json.loads(planned.stdout)
    assert plan["serving_spec"] == NICE_FORMULA
    assert (plan["platform"], plan["serving_binaries"][0]["binary"]) == ("acme_nice", "acme_formula")
    assert plan["validation_spec"]["answers"] == {"acme_steps": {"output": "y", "step": 0.5}}

    done = command(with_acme, "validate", "--model", formula, *specs, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads((tmp_path / "out" / "verdict.json").read_text())
    binary = verdict["serving_binaries"][0]
    assert (binary["binary"], binary["platform"], binary["label"]) == (
        "acme_formula",
        "acme_nice",
        "acme formula server 1.2",
    )
    assert (verdict["evidence"]["requests"], verdict["evidence"]["source"]) == (20, "offered")
    assert {"name": "acme_steps", "outcome": "passed"}.items() <= {
        key: value
        for check in verdict["evidence"]["checks"]
        if check["name"] == "acme_steps"
        for key, value in check.items()
    }.items()
    assert "acme_nice" in (tmp_path / "out" / "report.html").read_text()

    verify = ("verify", "--model", formula, "--verdict", tmp_path / "out")
    without = {key: value for key, value in with_acme.items() if key != "PYTHONPATH"}
    assert command(without, *verify).returncode == 0  # whoever pushes needs no such package
    (formula / "formula.json").write_text('{"factor": 1, "offset": 2}')
    assert command(without, *verify).returncode == 1


def test_in_python(acme: pathlib.Path, formula: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(acme)
    monkeypatch.setenv("PYTHONPATH", str(acme), prepend=os.pathsep)
    from acme_serving.binary import FormulaConfig
    from acme_serving.check import StepsConfig
    from acme_serving.platform import NiceProcessConfig

    spec = ServingSpec.of({"acme_formula": FormulaConfig(), "acme_nice": NiceProcessConfig(level=5)})
    assert spec == ServingSpec.of(NICE_FORMULA)
    assert spec == ServingSpec(
        other_binaries={"acme_formula": FormulaConfig()}, other_platforms={"acme_nice": NiceProcessConfig(5)}
    )
    limits = ValidationSpec.of({"answers": {"acme_steps": StepsConfig("y", 1.0)}})
    report = run_validation(
        formula, spec, limits, {**RAMP, "concurrency": 1}
    )  # so that the first wrong answer is the one of request 2
    assert report.finding.reason is ReasonCode.ANSWER_CHECK_FAILED
    assert "number 2 of the ramp" in report.finding.detail
    assert "no multiple of 1" in report.finding.detail

    (formula / "formula.json").write_text("{}")
    report = run_validation(formula, spec, None, RAMP)
    assert report.finding.reason is ReasonCode.MODEL_LOAD_FAILED
    assert "no formula in" in report.finding.detail
    assert not report.blessed


@pytest.mark.parametrize(
    ("serving", "request_spec"),
    [
        ({"acme_formula": {}, "local_process": {}}, RAMP),
        ({"tensorflow_serving": {}, "acme_nice": {}}, RAMP),
        ({"tensorflow_serving": {}, "acme_nice": {}}, {"generate": {}, "num_examples": 3}),
        ({"tensorflow_serving": {}, "local_process": {}}, {**RAMP, "protocols": ["grpc", "rest"]}),
    ],
    ids=["their binary here", "our binary there", "made up", "their requests over REST"],
)
def test_theirs_and_ours_go_together(
    acme: pathlib.Path,
    formula: pathlib.Path,
    saved_models: SavedModels,
    monkeypatch: pytest.MonkeyPatch,
    serving: dict[str, Any],
    request_spec: dict[str, Any],
) -> None:
    monkeypatch.syspath_prepend(acme)
    monkeypatch.setenv("PYTHONPATH", str(acme), prepend=os.pathsep)
    model = formula if "acme_formula" in serving else saved_models.path("half_plus_two")
    report = run_validation(model, serving, None, request_spec)
    assert report.blessed, report.sentence
    assert report.evidence.requests == request_spec.get("num_examples", 20)


def test_requests_cannot_be_made_where_nobody_knows_what_a_model_takes(
    acme: pathlib.Path, formula: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(acme)
    report = run_validation(formula, NICE_FORMULA, None, {"generate": {}})
    assert report.finding.reason is ReasonCode.WRONG_USAGE
    assert "nothing tells what a model of acme_formula takes" in report.finding.detail


@pytest.mark.parametrize(
    ("kind", "given", "problem"),
    [
        (ServingSpec, {"acme_fomula": {}}, r"acme_fomula: there is no such field. Did you mean 'acme_formula'\?"),
        (ServingSpec, {"acme_formula": {"extra_arg": []}}, r"acme_formula.extra_arg: .* Did you mean 'extra_args'\?"),
        (ServingSpec, {"acme_nice": {"level": "much"}}, "acme_nice.level: must be a whole number, not a string"),
        (ServingSpec, {"acme_nice": {"level": 20}}, "acme_nice.level: must be from 0 to 19, not 20"),
        (ServingSpec, {"acme_nice": 3}, "acme_nice: must be an object with named fields, not a number"),
        (ServingSpec, {"acme_nice": {}, "acmeNice": {}}, "acmeNice: is given twice, as 'acme_nice' and as 'acmeNice'"),
        (
            ServingSpec,
            {"acme_nice": {}, "local_process": {}, "acme_formula": {}},
            "local_process and acme_nice are given",
        ),
        (ServingSpec, {"acme_steps": {"output": "y"}}, "acme_steps: there is no such field"),
        (
            ServingSpec,
            {"acme_formula": {"extra_args": ["--model=x"]}},
            r"acme_formula.extra_args\[0\]: is the validator",
        ),
        (ValidationSpec, {"answers": {"acme_steps": {}}}, "answers.acme_steps.output: is not given"),
        (RequestSpec, {"acme_ramp": {}, "generate": {}}, "needs one source of requests at most"),
    ],
)
def test_what_is_wrong_is_told_as_of_any_field(
    acme: pathlib.Path, monkeypatch: pytest.MonkeyPatch, kind: Any, given: dict[str, Any], problem: str
) -> None:
    monkeypatch.syspath_prepend(acme)
    with pytest.raises(SpecError, match=problem):
        kind.of(given)


def test_a_spec_goes_through_json_and_names_files(
    acme: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(acme)
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\n")
    spec = ServingSpec.of({"acme_formula": {"program": [str(program)]}, "acme_nice": {}})
    assert ServingSpec.of(to_json(spec)) == spec
    assert json.loads(to_json(spec))["acme_nice"] == {}
    assert named_files(serving_spec=spec) == {"serving_spec.acme_formula.program[0]": str(program)}


def test_without_the_package_its_names_are_unknown() -> None:
    with pytest.raises(SpecError, match="acme_formula: there is no such field"):
        ServingSpec.of(NICE_FORMULA)


def test_what_is_installed_is_listed_and_described(with_acme: dict[str, str]) -> None:
    listed = command(with_acme, "plugins")
    assert listed.returncode == 0
    assert "acme_nice: serving platform (serving_spec.acme_nice), of acme-serving 1.2\n" in listed.stdout
    assert "acme_steps: check (validation_spec.answers.acme_steps), of acme-serving 1.2\n" in listed.stdout
    described = command(with_acme, "plugins", "acme_nice")
    assert "| `level` | `10` |  | How much it gives way to others, from 0 to 19. |" in described.stdout
    unknown = command(with_acme, "plugins", "acme_nize")
    assert (unknown.returncode, "Did you mean 'acme_nice'?" in unknown.stderr) == (2, True)


def test_a_killed_validator_leaves_nothing_of_theirs_behind(
    with_acme: dict[str, str], formula: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    from infra_validator.core.deadline import Deadline, wait_until
    from infra_validator.model_server_runners.cleanup.watchdog import marked_processes

    (tmp_path / "temporary").mkdir()
    mark = f"ACME_TEST={tmp_path}"
    environment = {**with_acme, "TMPDIR": str(tmp_path / "temporary"), "ACME_TEST": str(tmp_path)}
    arguments = ["--model", str(formula), "--serving-spec", json.dumps(NICE_FORMULA)]
    endless = ["--request-spec", json.dumps({"acme_ramp": {"count": 1_000_000_000}})]
    with subprocess.Popen(
        [sys.executable, "-m", "infra_validator", "validate", *arguments, *endless],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as validator:
        assert validator.stderr is not None
        for line in validator.stderr:
            if ": load ok" in line:
                break
        assert len(marked_processes(mark)) > 1
        validator.send_signal(signal.SIGKILL)
    wait_until(lambda: True if not marked_processes(mark) else None, Deadline.after(60))
    wait_until(lambda: True if not list((tmp_path / "temporary").iterdir()) else None, Deadline.after(60))


def test_its_own_tests_of_the_contracts_pass(with_acme: dict[str, str], tmp_path: pathlib.Path) -> None:
    tests = shutil.copytree(PACKAGE / "tests", tmp_path / "tests")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tests)],
        cwd=tmp_path,
        env=with_acme,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
