"""``verdict.json`` and its published schema: what is written follows it, it names every field, and old files are read still."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import jsonschema
import pytest

from component_tests.fakes.published_schema import check, schema
from component_tests.fakes.rich_reports import every_kind
from infra_validator.cli.report import main as report
from infra_validator.cli.verify import main as verify
from infra_validator.core.errors import UsageError
from infra_validator.report.verdict import SCHEMA_VERSION, report_of_error

OLD = pathlib.Path(__file__).parent / "verdicts_of_old_versions"
OLD_FILES = sorted(path.name for path in OLD.iterdir())


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["properties"]["schema_version"]["maximum"] == SCHEMA_VERSION
    assert [f"version_{number}.json" for number in range(1, SCHEMA_VERSION)] == OLD_FILES


@pytest.mark.parametrize("kind", sorted(every_kind()))
def test_every_field_of_a_verdict_is_named(kind: str) -> None:
    told = json.loads(every_kind()[kind].to_json())
    check(told, closed=True)
    check({**told, "a_field_of_tomorrow": 1})


def test_the_verdict_on_an_error_follows_it() -> None:
    check(json.loads(report_of_error("/m", UsageError("no")).to_json()), closed=True)


@pytest.mark.parametrize("file", OLD_FILES)
def test_old_verdicts_follow_it_too(file: str) -> None:
    check(json.loads((OLD / file).read_text()), closed=True)


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "FINE"},
        {"serving_binaries": [{}]},
        {"schema_version": 4},
        {"limits": None},
        {"model_digest": "md5:1"},
        {"evidence": {"level": "SOME"}},
        {"machine": {}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_none_is_refused(change: dict[str, Any]) -> None:
    told = json.loads(every_kind()["rejected"].to_json())
    with pytest.raises(AssertionError):
        check({**told, **change})


@pytest.mark.parametrize("file", OLD_FILES)
def test_an_old_verdict_verifies_its_model(
    file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"another")
    assert verify(["--model", str(model), "--verdict", str(OLD / file)]) == 1
    assert "not the blessed model" in capsys.readouterr().out


@pytest.mark.parametrize("file", OLD_FILES)
@pytest.mark.parametrize("form", ["html", "junit", "markdown"])
def test_reports_are_made_of_old_verdicts(file: str, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report([str(OLD / file), "--format", form]) == 0
    shown = capsys.readouterr().out
    assert "half_plus_two" in shown
    if form != "markdown":
        assert "Exporting HTTP/REST API" in shown
