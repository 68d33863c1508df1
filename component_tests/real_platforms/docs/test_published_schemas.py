"""The files for CI systems and for GitHub against their published schemas (check-jsonschema has them with it), and pre-commit itself."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import yaml

from component_tests.component.teams.ci_job import script
from component_tests.conftest import python_of
from component_tests.fakes.saved_models import ROOT, SavedModels
from infra_validator._version import __version__

pytestmark = [pytest.mark.docs, pytest.mark.slow]

FILES = {
    "configs/ci/github_actions.yaml": "vendor.github-workflows",
    "configs/ci/gitlab_ci.yaml": "vendor.gitlab-ci",
    "CITATION.cff": "vendor.citation-file-format",
    ".github/ISSUE_TEMPLATE/config.yml": "vendor.github-issue-config",
    **{str(path.relative_to(ROOT)): "vendor.github-workflows" for path in sorted(ROOT.glob(".github/workflows/*"))},
    **{
        str(path.relative_to(ROOT)): "vendor.github-issue-forms"
        for path in sorted(ROOT.glob(".github/ISSUE_TEMPLATE/*.yaml"))
    },
}


def tool(name: str) -> str:
    """A program of the documentation's environment."""
    return str(pathlib.Path(python_of("docs")).parent / name)


def run(*command: str, cwd: pathlib.Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.parametrize("file", FILES)
def test_a_file_follows_the_published_schema(file: str) -> None:
    done = run(tool("check-jsonschema"), "--builtin-schema", FILES[file], file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_file_is_found(tmp_path: pathlib.Path) -> None:
    wrong = tmp_path / "workflow.yaml"
    wrong.write_text((ROOT / "configs/ci/github_actions.yaml").read_text().replace("runs-on:", "run-on:"))
    assert run(tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", str(wrong)).returncode == 1


def test_the_citation_has_the_packages_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__


class Repository:
    """A throw-away git repository whose .pre-commit-config.yaml names this one's hooks.

    Args:
      directory: where it is made; the hooks' repository is made beside it.
      python: what ``infra-validator`` on the PATH runs with.
    """

    def __init__(self, directory: pathlib.Path, python: str) -> None:
        self.directory, hooks, programs = directory / "work", directory / "hooks", directory / "programs"
        for made in (self.directory, hooks, programs):
            made.mkdir()
        script(programs / "infra-validator", f'#!/bin/sh\nexec {python} -m infra_validator "$@"\n')
        self._environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PRE_COMMIT_HOME": str(directory / "cache"),
            "GIT_CONFIG_GLOBAL": "/dev/null",
        }
        shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
        for repository in (hooks, self.directory):
            self.git("init", "-q", cwd=repository)
        self.git("add", ".", cwd=hooks)
        self.git("commit", "-qm", "hooks", cwd=hooks)
        self.git("tag", "v0.1.0", cwd=hooks)
        config = yaml.safe_load((ROOT / "configs/ci/pre-commit-config.yaml").read_text())
        (repo,) = config["repos"]
        repo["repo"] = str(hooks)
        (hook,) = repo["hooks"]
        hook["id"] += "-system"  # the package is in no index
        del hook["additional_dependencies"]
        (self.directory / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))

    def git(self, *command: str, cwd: pathlib.Path | None = None) -> subprocess.CompletedProcess[str]:
        identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
        return run("git", *identity, *command, cwd=cwd or self.directory, **self._environment)

    def pre_commit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(tool("pre-commit"), *arguments, cwd=self.directory, **self._environment)

    def commit(self, message: str) -> subprocess.CompletedProcess[str]:
        self.git("add", ".")
        return self.git("commit", "-m", message)


def test_a_commit_with_a_model_that_does_not_serve_is_refused(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    repository = Repository(tmp_path, sys.executable)
    assert repository.pre_commit("install").returncode == 0
    saved_models.copy("half_plus_two", repository.directory / "models" / "good")
    done = repository.commit("a good model")
    assert done.returncode == 0, done.stdout + done.stderr
    saved_models.copy("nan", repository.directory / "models" / "bad")
    done = repository.commit("a bad model")
    assert done.returncode == 1
    assert "ANSWER_NOT_FINITE" in done.stdout + done.stderr
    assert "good" not in done.stdout + done.stderr  # only what changed is validated


def test_the_hooks_are_what_pre_commit_takes() -> None:
    for command, file in (
        ("validate-manifest", ".pre-commit-hooks.yaml"),
        ("validate-config", "configs/ci/pre-commit-config.yaml"),
    ):
        done = run(tool("pre-commit"), command, file)
        assert done.returncode == 0, done.stdout + done.stderr
