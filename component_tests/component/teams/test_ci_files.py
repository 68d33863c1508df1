"""The workflow of GitHub Actions and the job of GitLab: their steps run in order on a good and on a bad model."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from component_tests.component.teams.ci_job import Checkout, checkout, config, environment_of
from component_tests.fakes.saved_models import ROOT, SavedModels

pytestmark = pytest.mark.slow

EXTRAS = set(
    re.findall(
        r"^(\w+) = \[",
        (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2].partition("\n[")[0],
        re.M,
    )
)


@dataclasses.dataclass
class Job:
    """What a job left.

    Attributes:
      codes: the exit codes of its steps by their names, in the order in which they ran.
      said: what all of them wrote.
    """

    codes: dict[str, int]
    said: str

    @property
    def failed(self) -> bool:
        return any(self.codes.values())


def github_job(where: Checkout) -> tuple[Job, dict[str, str]]:
    """The workflow's one job, and its outputs: after a failed step only those with ``if: always()`` run."""
    (job,) = config("ci/github_actions.yaml")["jobs"].values()
    home = where.directory.parent
    files = {name: str(home / name.lower()) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    environment = environment_of(CI="true", GITHUB_ACTIONS="true", **files, **job["env"])
    done = Job({}, "")
    for step in job["steps"]:
        if "run" not in step or (done.failed and step.get("if") != "always()"):
            continue
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        ran = where.run(shell, environment)
        done.codes[step["name"]] = ran.returncode
        done.said += ran.stdout + ran.stderr
    outputs = dict(line.split("=", 1) for line in (home / "github_output").read_text().splitlines())
    return done, outputs


def gitlab_job(where: Checkout) -> Job:
    """The job's script, which ends with its first command that fails."""
    (job,) = config("ci/gitlab_ci.yaml").values()
    environment = environment_of(CI="true", GITLAB_CI="true", CI_PROJECT_DIR=str(where.directory), **job["variables"])
    done = Job({}, "")
    for command in job["script"]:
        ran = where.run(["bash", "-eo", "pipefail", "-c", command], environment)
        done.codes[command] = ran.returncode
        done.said += ran.stdout + ran.stderr
        if done.failed:
            break
    return done


def verdict_in(where: Checkout) -> Any:
    return json.loads((where.directory / "report" / "verdict.json").read_text())


def failures_in_junit(where: Checkout) -> int:
    suites = ElementTree.parse(where.directory / "report" / "junit.xml").getroot()
    return len(list(suites.iter("failure")))


def asks_for_what_there_is(where: Checkout) -> None:
    (wanted,) = where.installed()
    name, extras = wanted.rstrip("]").split("[")
    assert name == "infra-validator"
    assert set(extras.split(",")) <= EXTRAS


def test_github_lets_a_model_pass_that_serves(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    where = checkout(tmp_path, saved_models.path("half_plus_two"))
    job, outputs = github_job(where)
    assert not job.failed, job.said
    assert list(job.codes) == [
        "Install",
        "Validate the model",
        "Tell the verdict to later jobs",
        "What is pushed is what was blessed",
    ]
    assert outputs == {"verdict": "BLESSED"}
    assert verdict_in(where)["evidence"]["level"] == "ANSWERED"
    assert "infra-validation-model: blessed" in (tmp_path / "github_step_summary").read_text()
    assert failures_in_junit(where) == 0
    assert "::group::" in job.said
    assert "::error" not in job.said
    asks_for_what_there_is(where)


def test_github_stops_a_model_that_does_not_serve(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    where = checkout(tmp_path, saved_models.path("nan"))
    job, outputs = github_job(where)
    assert job.codes == {"Install": 0, "Validate the model": 1, "Tell the verdict to later jobs": 0}
    assert outputs == {"verdict": "NOT_BLESSED"}
    assert "ANSWER_NOT_FINITE" in (tmp_path / "github_step_summary").read_text()
    assert failures_in_junit(where) > 0
    assert "::error" in job.said
    assert (where.directory / "report" / "report.html").stat().st_size > 1000


def test_gitlab_lets_a_model_pass_that_serves(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    where = checkout(tmp_path, saved_models.path("half_plus_two"))
    job = gitlab_job(where)
    assert not job.failed, job.said
    assert len(job.codes) == 3
    assert failures_in_junit(where) == 0
    assert "section_start" in job.said
    asks_for_what_there_is(where)


def test_gitlab_stops_a_model_that_does_not_serve(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    where = checkout(tmp_path, saved_models.path("unknown_op"))
    job = gitlab_job(where)
    assert list(job.codes.values()) == [0, 1], job.said
    assert verdict_in(where)["reason_code"] == "OP_NOT_REGISTERED"
    assert failures_in_junit(where) > 0


def test_the_artifacts_are_what_validate_writes(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    where = checkout(tmp_path, saved_models.path("half_plus_two"))
    gitlab_job(where)
    (gitlab,) = config("ci/gitlab_ci.yaml").values()
    (github,) = config("ci/github_actions.yaml")["jobs"].values()
    kept = [*gitlab["artifacts"]["paths"], gitlab["artifacts"]["reports"]["junit"]]
    kept += [step["with"]["path"] for step in github["steps"] if "upload-artifact" in step.get("uses", "")]
    assert [path for path in kept if not (where.directory / path).exists()] == []


def test_what_could_not_be_tested_is_tried_again_by_gitlab() -> None:
    (job,) = config("ci/gitlab_ci.yaml").values()
    assert job["retry"] == {"max": 1, "exit_codes": [3]}
