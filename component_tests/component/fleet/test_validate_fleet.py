"""``validate --models``: verdicts, resuming, parts and their merging, on real servers."""

from __future__ import annotations

import importlib.resources
import json
import pathlib
import shutil
import signal
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator import UsageError, Verdict, validate_fleet
from infra_validator.cli import report as report_command
from infra_validator.cli.validate import main
from infra_validator.core.deadline import Deadline, wait_until

SPEC = '{"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}'
EXPECTED = {
    "empty_pb": ("NOT_BLESSED", "MODEL_NOT_A_SAVED_MODEL"),
    "half_plus_two": ("BLESSED", "BLESSED"),
    "nan": ("NOT_BLESSED", "ANSWER_NOT_FINITE"),
    "no_variables": ("BLESSED", "BLESSED"),
    "unknown_op": ("NOT_BLESSED", "OP_NOT_REGISTERED"),
}


@pytest.fixture
def models(saved_models: SavedModels, tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "models"
    for name in EXPECTED:
        shutil.copytree(saved_models.base_path(name), folder / name)
    return folder


def validate(models: object, output: pathlib.Path, *more: str) -> int:
    fixed = ["--serving-spec", SPEC, "--generate", "--quiet", "--output", str(output)]
    return main(["--models", str(models), *fixed, *more])


def fleet_of(output: pathlib.Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((output / "fleet.json").read_text())
    text = importlib.resources.files("infra_validator.fleet").joinpath("fleet.schema.json").read_text(encoding="utf-8")
    jsonschema.Draft202012Validator(json.loads(text)).validate(told)
    return told


def verdicts(told: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {line["name"]: (line["verdict"], line["reason_code"]) for line in told["models"]}


def states(told: dict[str, Any]) -> dict[str, str]:
    return {line["name"]: line["state"] for line in told["models"]}


def test_a_mixed_fleet_has_the_verdict_of_each_model_and_keeps_it(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    output = tmp_path / "out"
    assert validate(models, output) == 1
    told = fleet_of(output)
    assert verdicts(told) == EXPECTED
    assert told["counts"] == {"BLESSED": 2, "NOT_BLESSED": 3, "INCONCLUSIVE": 0}
    for line in told["models"]:
        own = json.loads((output / line["report"]).read_text())
        assert (own["verdict"], own["reason_code"]) == EXPECTED[line["name"]]
    page = (output / "report.html").read_text()
    assert 'href="./models/half_plus_two/report.html"' in page
    assert (output / "models/half_plus_two/report.html").is_file()
    suite = ElementTree.fromstring((output / "junit.xml").read_text().partition("\n")[2])
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("5", "3", "0")
    assert "| unknown_op | ❌ NOT" in (output / "summary.md").read_text()

    # What changed is done again, and so is what was half written; the rest is kept.
    (models / "no_variables" / "1" / "saved_model.pb").write_bytes(b"")
    (output / "models/half_plus_two/verdict.json").write_text('{"verdict": "BLES')
    assert validate(models, output, "--resume") == 1
    told = fleet_of(output)
    assert verdicts(told) == {**EXPECTED, "no_variables": ("NOT_BLESSED", "MODEL_NOT_A_SAVED_MODEL")}
    again = {name for name, state in states(told).items() if state == "validated"}
    assert again == {"no_variables", "half_plus_two"}

    # Another spec is another question.
    assert validate(models, output, "--resume", "--validation-spec", "num_tries: 2") == 1
    assert set(states(fleet_of(output)).values()) == {"validated"}


def test_parts_of_a_list_are_merged_to_one_report(
    models: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [tmp_path / f"part-{index}" for index in (1, 2)]
    codes = [validate(models / "*", part, "--shard", f"{index}/2") for index, part in enumerate(parts, 1)]
    assert codes == [1, 0]
    whole = tmp_path / "whole"
    assert report_command.main(["--merge", *map(str, parts), "--output", str(whole)]) == 1
    told = fleet_of(whole)
    assert verdicts(told) == EXPECTED
    for line in told["models"]:
        assert (whole / line["report"]).is_file()

    verdict = tmp_path / "verdict"
    assert report_command.main(["--merge", *map(str, parts), "--verdict-file", str(verdict)]) == 0
    assert verdict.read_text() == "NOT_BLESSED"
    assert report_command.main(["--merge", str(parts[1]), "--verdict-file", str(verdict)]) == 3
    assert not verdict.exists()
    with pytest.raises(SystemExit, match="2"):
        report_command.main([str(parts[1]), "--verdict-file", str(verdict)])

    capsys.readouterr()
    assert report_command.main(["--merge", str(parts[1]), "--format", "markdown"]) == 3
    assert "Parts 1 are missing" in capsys.readouterr().out
    assert report_command.main(["--merge", str(parts[1]), str(parts[1])]) == 2
    assert "given twice" in capsys.readouterr().err
    assert report_command.main(["--merge", str(models)]) == 2


def test_a_list_gives_a_model_its_own_specs_and_requests(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    listed = tmp_path / "list.yaml"
    listed.write_text("- models/half_plus_two\n- {model: models/nan, name: loaded, request_spec: {}}\n")
    report = validate_fleet(listed, SPEC, None, None, at_once=1)
    assert [(line.name, line.verdict, line.evidence) for line in report.models] == [
        ("half_plus_two", Verdict.BLESSED, "LOADED"),
        ("loaded", Verdict.BLESSED, "LOADED"),
    ]
    assert report.at_once == 1


def test_fail_fast_begins_no_further_model(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    output = tmp_path / "out"
    assert validate(models, output, "--fail-fast", "--at-once", "1") == 1
    told = fleet_of(output)
    assert list(states(told).values()) == ["validated", *["not_started"] * 4]
    assert told["models"][1]["reason_code"] == "INTERRUPTED"


def test_an_infrastructure_failure_is_not_kept_and_spares_the_others(
    models: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    listed = tmp_path / "list.yaml"
    missing = '{"tensorflow_serving": {}, "local_process": {"binary_path": "/no/such/binary"}}'
    listed.write_text(f"- model: models/half_plus_two\n- model: models/no_variables\n  serving_spec: {missing}\n")
    output = tmp_path / "out"
    assert validate(listed, output) == 3
    assert verdicts(fleet_of(output))["no_variables"] == ("INCONCLUSIVE", "BINARY_NOT_FOUND")
    listed.write_text("- models/half_plus_two\n- models/no_variables\n")
    assert validate(listed, output, "--resume") == 0
    assert states(fleet_of(output)) == {"half_plus_two": "kept", "no_variables": "validated"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- models/none\n", "list.yaml:1: there is no directory"),
        ("- models/nan\n- {model: models/nan}\n", "list.yaml:2: the name 'nan' is taken by"),
        ("- model: models/nan\n  nmae: x\n", "list.yaml:1.nmae: there is no such field. Did you mean 'name'?"),
        ("- models/nan\n\n- {name: x}\n", "list.yaml:3.model: is not given"),
        ("- {model: models/nan, name: ../x}\n", "list.yaml:1.name: must be letters"),
        ("- {model: models/nan, serving_spec: {tensorflow_servin: {}}}\n", "list.yaml:1: serving_spec"),
        ("[]", "there is no model in it"),
        ("models: []", "must be a list of models"),
        ('["models/nan", "models/none"]', "list.yaml:1:16: there is no directory"),
        ("- [\n", "neither YAML nor JSON"),
        ("- 7\n", "list.yaml:1: must be an object"),
    ],
)
def test_mistakes_in_a_list_are_named_before_anything_starts(
    models: pathlib.Path, tmp_path: pathlib.Path, text: str, says: str
) -> None:
    (tmp_path / "list.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        validate_fleet(tmp_path / "list.yaml", SPEC, output=tmp_path / "out")
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_lines_are_a_list_too(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("# good ones\nmodels/nothing\n\n")
    with pytest.raises(UsageError, match=r"list\.txt:2: there is no directory"):
        validate_fleet(listed, SPEC)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b"])
def test_a_part_that_is_none(models: pathlib.Path, tmp_path: pathlib.Path, shard: str) -> None:
    assert validate(models, tmp_path / "out", "--shard", shard) == 2


@pytest.mark.parametrize("more", [["--model", "x"], ["--dry-run"], ["--address", "127.0.0.1:1", "--model-name", "m"]])
def test_what_does_not_go_with_models(models: pathlib.Path, more: list[str]) -> None:
    spec = [] if "--address" in more else ["--serving-spec", SPEC]
    with pytest.raises(SystemExit) as ended:
        main(["--models", str(models), *spec, *more])
    assert ended.value.code == 2


def test_an_interruption_tears_all_down_and_can_be_resumed(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    requests = tmp_path / "slow.json"
    requests.write_text(json.dumps([{"inputs": {"seconds": 300.0}}]))
    listed = tmp_path / "list.json"
    quick, slow = str(saved_models.path("half_plus_two")), str(saved_models.path("slow"))
    hanging = [{"model": slow, "name": f"slow-{number}", "requests": str(requests)} for number in range(3)]
    listed.write_text(json.dumps([{"model": quick, "name": "quick"}, *hanging]))
    output = tmp_path / "out"
    command = [sys.executable, "-m", "infra_validator", "validate", "--models", str(listed), "--serving-spec", SPEC]
    command += ["--output", str(output), "--at-once", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            done = output / "models" / "quick" / "fingerprint"
            wait_until(lambda: done.is_file() or None, Deadline.after(120))
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 143
    told = fleet_of(output)
    assert verdicts(told)["quick"] == ("BLESSED", "BLESSED")
    assert {verdicts(told)[f"slow-{number}"] for number in range(3)} == {("INCONCLUSIVE", "INTERRUPTED")}
    assert states(told)["slow-2"] == "not_started"
    listed.write_text(json.dumps([{"model": quick, "name": "quick"}]))
    assert validate_fleet(listed, SPEC, output=output, resume=True).models[0].state == "kept"
