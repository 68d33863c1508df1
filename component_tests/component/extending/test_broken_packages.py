"""Packages that are broken, or in each other's way: told when they are named, by the package's name, and nobody else is harmed."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from infra_validator import RequestSpec, ServingSpec, SpecError, ValidationSpec, run_validation
from infra_validator.cli.plugins import main as plugins
from infra_validator.cli.validate import main as validate
from infra_validator.core.reason_codes import ReasonCode

MODULE = """
import dataclasses
from infra_validator.model_server_runners.local_process.runner import LocalProcessRunner
from infra_validator.sample_requests.base_source import BaseRequestSource
from infra_validator.specs.reader import spec_field
from infra_validator.validation.answers.check import OfferedCheck

@dataclasses.dataclass(frozen=True)
class Strange:
    when: complex = spec_field(0j, "A type that no spec has.")

@dataclasses.dataclass(frozen=True)
class Undocumented:
    level: int = 3

@dataclasses.dataclass(frozen=True)
class Unsure:
    level: int = spec_field(3, "A level.")
    def check(self, path):
        raise KeyError("a mistake of ours")

class Runner(LocalProcessRunner):
    pass

class OfStrange(Runner):
    config_class = Strange

class OfUndocumented(Runner):
    config_class = Undocumented

class OfUnsure(Runner):
    config_class = Unsure

class OfNumber(Runner):
    config_class = 3

class Raises(Runner):
    platform = "raises"
    def _launch(self):
        super()._launch()
        raise RuntimeError("the moon is full")

class Hangs(Runner):
    platform = "hangs"
    def _launch(self):
        super()._launch()
        self.stop_grace_seconds = 0.1
        self.register_cleanup("wait for the moon", lambda deadline: __import__("time").sleep(600))

class RaisesWhenMade(Runner):
    platform = "raises_when_made"
    def __init__(self, *arguments):
        raise RuntimeError("the moon is full")

class RaisingCheck(OfferedCheck):
    def look(self, request, answer, expected):
        raise ZeroDivisionError("a mistake of the check's")

class RaisingSource(BaseRequestSource):
    def MakeRequests(self):
        raise ZeroDivisionError("a mistake of the source's")

class HalfASource(BaseRequestSource):
    pass
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package with entry points of one group; all of them have one module."""
    (tmp_path / "broken_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)

    def install(package: str, group: str, **targets: str) -> None:
        metadata = tmp_path / f"{package}-1.0.dist-info"
        metadata.mkdir(exist_ok=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {target}" for name, target in targets.items()]
        with (metadata / "entry_points.txt").open("a") as file:
            file.write("\n".join([f"[infra_validator.{group}]", *lines, ""]))

    return install


def refused(name: str) -> str:
    with pytest.raises(SpecError) as caught:
        ServingSpec.of({"tensorflow_serving": {}, name: {}})
    assert caught.value.field == f"serving_spec.{name}"
    return caught.value.detail


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("no_such_module:Runner", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("broken_module:Nothing", "cannot be imported: AttributeError"),
        ("broken_module:OfNumber", "whose config_class is no data class: 3"),
        ("broken_module:OfUndocumented", "has the field Undocumented.level, which is not declared with spec_field"),
    ],
)
def test_what_leads_nowhere_is_told_when_it_is_named(install: Install, target: str, problem: str) -> None:
    install("sorry", "platforms", theirs=target)
    assert ServingSpec.of({"tensorflow_serving": {}, "local_process": {}}).platform == "local_process"
    told = refused("theirs")
    assert "'theirs' (infra_validator.platforms) of the package sorry 1.0" in told
    assert problem in told


@pytest.mark.parametrize(
    ("target", "given", "problem"),
    [
        ("broken_module:OfStrange", {"when": 1}, "cannot be read: KeyError"),
        ("broken_module:OfUnsure", {}, "cannot be read: KeyError: 'a mistake of ours'"),
    ],
)
def test_settings_that_cannot_be_read(install: Install, target: str, given: dict[str, int], problem: str) -> None:
    install("sorry", "platforms", theirs=target)
    with pytest.raises(SpecError, match=problem) as caught:
        ServingSpec.of({"tensorflow_serving": {}, "theirs": given})
    assert "sorry 1.0" in caught.value.detail


def test_a_module_that_ends_the_process(install: Install, tmp_path: pathlib.Path) -> None:
    (tmp_path / "ends.py").write_text("import sys; sys.exit(5)")
    install("sorry", "platforms", theirs="ends:Runner")
    assert "SystemExit: 5" in refused("theirs")


def test_two_packages_with_one_name(install: Install) -> None:
    install("one", "platforms", theirs="broken_module:Runner")
    install("two", "platforms", theirs="broken_module:Runner")
    told = refused("theirs")
    assert "offered more than once: by one 1.0 (infra_validator.platforms) and two 1.0" in told


def test_a_platform_and_a_binary_stand_side_by_side_in_a_spec(install: Install) -> None:
    install("one", "platforms", theirs="broken_module:Runner")
    install("one", "serving_binaries", theirs="broken_module:Runner")
    assert "more than once" in refused("theirs")


def test_a_name_that_is_built_in_stays_what_it_is(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("sorry", "platforms", local_docker="no_such_module:Runner")
    spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "local_docker": {}})
    assert spec.local_docker is not None
    assert plugins([]) == 0
    assert "of sorry 1.0: has the name of what is built in, which is used instead" in capsys.readouterr().out
    assert plugins(["local_docker"]) == 2


def test_a_name_that_no_spec_can_have(install: Install) -> None:
    install("sorry", "platforms", **{"Their-Platform": "broken_module:Runner"})
    assert "is no name for a spec" in refused("Their-Platform")


def test_the_list_imports_nothing_and_a_broken_one_is_told_when_it_is_named(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("sorry", "platforms", theirs="no_such_module:Runner", number="broken_module:OfNumber")
    install("sorry", "request_sources", half="broken_module:HalfASource")
    assert plugins([]) == 0
    assert "theirs: serving platform (serving_spec.theirs), of sorry 1.0\n" in capsys.readouterr().out
    for name, problem in (
        ("theirs", "cannot be imported"),
        ("number", "no data class"),
        ("half", "which lacks MakeRequests"),
    ):
        assert plugins([name]) == 2
        told = capsys.readouterr().err
        assert problem in told
        assert "sorry 1.0" in told


def test_a_mistake_of_theirs_is_the_users_on_the_command_line(
    install: Install, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("sorry", "platforms", theirs="no_such_module:Runner")
    spec = '{"tensorflow_serving": {}, "theirs": {}}'
    assert validate(["--model", str(tmp_path), "--serving-spec", spec]) == 2
    told = capsys.readouterr()
    assert "the package sorry 1.0" in told.out
    assert "Traceback" not in told.out + told.err


@pytest.mark.parametrize("name", ["raises", "raises_when_made"])
def test_a_runner_that_raises_is_its_packages_fault_and_leaves_nothing(
    install: Install, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str, saved_model: pathlib.Path
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    install("sorry", "platforms", raises="broken_module:Raises", raises_when_made="broken_module:RaisesWhenMade")
    report = run_validation(saved_model, {"tensorflow_serving": {}, name: {}})
    assert report.finding.reason is ReasonCode.EXTENSION_FAILED
    assert report.finding.detail == "sorry 1.0: RuntimeError: the moon is full."
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_cleanup_that_hangs_keeps_no_other_from_its_work(
    install: Install, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, saved_model: pathlib.Path
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("infra_validator.validation.attempt._STOP_SECONDS", 0.5)
    install("sorry", "platforms", hangs="broken_module:Hangs")
    report = run_validation(saved_model, {"tensorflow_serving": {}, "hangs": {}}, {"stop_grace_seconds": 0.5})
    assert report.blessed
    left = report.serving_binaries[0].attempts[-1].left_behind
    assert left == ("Could not wait for the moon: it was still at work after its deadline",)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_check_that_raises_is_its_packages_fault(install: Install, saved_model: pathlib.Path) -> None:
    install("sorry", "checks", theirs="broken_module:RaisingCheck")
    limits = ValidationSpec.of({"answers": {"theirs": {}}})
    here: dict[str, dict[str, str]] = {"tensorflow_serving": {}, "local_process": {}}
    report = run_validation(saved_model, here, limits, {"generate": {}})
    assert report.finding.reason is ReasonCode.EXTENSION_FAILED
    assert "sorry 1.0: ZeroDivisionError: a mistake of the check's" in report.finding.detail


def test_a_source_that_raises_is_its_packages_fault(install: Install, saved_model: pathlib.Path) -> None:
    install("sorry", "request_sources", theirs="broken_module:RaisingSource", half="broken_module:HalfASource")
    here: dict[str, dict[str, str]] = {"tensorflow_serving": {}, "local_process": {}}
    report = run_validation(saved_model, here, None, RequestSpec.of({"theirs": {}}))
    assert report.finding.reason is ReasonCode.EXTENSION_FAILED
    assert "sorry 1.0: ZeroDivisionError" in report.finding.detail
    report = run_validation(saved_model, here, None, RequestSpec.of({"half": {}}))
    assert report.finding.reason is ReasonCode.WRONG_USAGE
    assert "'half' of the package sorry 1.0" in report.finding.detail
