"""``infra-validator report``, and the files that lie beside a verdict."""

from __future__ import annotations

import json
import pathlib

import pytest

from component_tests.fakes.rich_reports import blessed, could_not_test, rejected
from component_tests.fakes.saved_models import SavedModels
from infra_validator.cli.report import main
from infra_validator.cli.step_summary import add_to_step_summary
from infra_validator.cli.validate import main as validate_main
from infra_validator.report.formats.every_format import FORMATS, files_of
from infra_validator.report.output_directory import OutputDirectory

REPORTS = ["junit.xml", "report.html", "summary.md"]


@pytest.fixture
def runs(tmp_path: pathlib.Path) -> pathlib.Path:
    """Three runs, as --output leaves them."""
    for day, report in enumerate((blessed(0), could_not_test(1), blessed(2))):
        OutputDirectory(str(tmp_path / "runs" / str(day)), "").write(report)
    return tmp_path / "runs"


def test_a_verdict_has_its_reports_beside_it_and_a_later_run_replaces_them(tmp_path: pathlib.Path) -> None:
    output = tmp_path / "out"
    OutputDirectory(str(output), "").write(rejected())
    assert sorted(path.name for path in output.iterdir() if path.suffix != ".log") == [*REPORTS, "verdict.json"]
    for name, text in files_of(json.loads((output / "verdict.json").read_text())).items():
        assert (output / name).read_text() == text
    OutputDirectory(str(output), "")
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_report_is_made_again_of_a_file_and_of_its_directory(
    runs: pathlib.Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = (runs / "0" / FORMATS[form].file).read_text()
    for named in (runs / "0", runs / "0" / "verdict.json"):
        assert main([str(named), "--format", form]) == 0
        assert capsys.readouterr().out == expected


@pytest.mark.parametrize("named", [["runs"], ["--history", "runs"], ["runs/0", "runs/1", "runs/2/verdict.json"]])
def test_several_verdicts_are_one_page_that_links_to_each(
    runs: pathlib.Path, named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs.parent)
    (runs.parent / "pages").mkdir()
    assert main([*named, "--output", "pages/trend.html"]) == 0
    page = (runs.parent / "pages" / "trend.html").read_text()
    assert "3 verdicts" in page
    for day in range(3):
        assert f'href="./../runs/{day}/report.html"' in page


def test_files_that_cannot_be_read_are_named_and_the_others_shown(
    runs: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "bad").mkdir()
    (runs / "bad" / "verdict.json").write_text("{")
    (runs / "other").mkdir()
    (runs / "other" / "verdict.json").write_text('{"verdict": 1}')
    (runs / "deep").mkdir()
    (runs / "deep" / "verdict.json").write_text("[" * 100_000)
    assert main(["--history", str(runs), "--format", "markdown"]) == 3
    shown = capsys.readouterr()
    assert shown.out.count("taxi") == 3
    for name, why in (("bad", "no JSON"), ("other", "no verdict"), ("deep", "nested too deeply")):
        assert f"{runs / name / 'verdict.json'}: it is {why}" in shown.err


@pytest.mark.parametrize("missing", ["absent", "absent/verdict.json"])
def test_nothing_to_show_is_wrong_usage(
    tmp_path: pathlib.Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / missing)]) == 2
    assert missing in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["--history", str(tmp_path / "empty")]) == 2
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2


def test_a_page_that_cannot_be_written_is_told(runs: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(runs), "--output", str(runs / "absent" / "page.html")]) == 3
    assert "No such file or directory" in capsys.readouterr().err


def test_the_summary_of_a_job_grows_by_the_verdict(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary"
    summary.write_text("# Before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    add_to_step_summary(rejected())
    add_to_step_summary(blessed())
    text = summary.read_text()
    assert text.startswith("# Before\n### ❌ taxi: not blessed")
    assert "### ✅ taxi: blessed" in text
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    add_to_step_summary(rejected())
    assert "GITHUB_STEP_SUMMARY" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "beginning"),
    [("html", "<!doctype html>"), ("junit", "<?xml "), ("markdown", "### \u274c"), ("json", "{")],
)
def test_validate_prints_each_format_and_adds_to_the_jobs_summary(
    form: str,
    beginning: str,
    tmp_path: pathlib.Path,
    saved_models: SavedModels,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = tmp_path / "summary"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    spec = '{"tensorflow_serving": {}, "local_process": {}}'
    model = str(saved_models.path("garbage_pb"))  # rejected before a server is started
    assert validate_main(["--model", model, "--serving-spec", spec, "--format", form, "--quiet"]) == 1
    assert capsys.readouterr().out.lstrip().lower().startswith(beginning)
    assert "MODEL_NOT_A_SAVED_MODEL" in summary.read_text()
