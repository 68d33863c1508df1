"""The example package, installed as any other is, into a directory of its own."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from component_tests.fakes.saved_models import ROOT, SavedModels

PACKAGE = pathlib.Path(__file__).parent / "acme_package"


@pytest.fixture(scope="session")
def acme(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The directory in which the example package is installed by pip; no network is needed."""
    work = tmp_path_factory.mktemp("acme")
    source = shutil.copytree(PACKAGE, work / "source")  # a build leaves files beside what it builds
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*install, "--disable-pip-version-check", "--target", str(work / "installed"), str(source)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return work / "installed"


@pytest.fixture
def with_acme(acme: pathlib.Path) -> dict[str, str]:
    """An environment for commands in which the example package is installed."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(acme), str(ROOT)])}


@pytest.fixture
def saved_model(saved_models: SavedModels) -> pathlib.Path:
    """A SavedModel that serves."""
    return saved_models.path("half_plus_two")


@pytest.fixture
def formula(tmp_path: pathlib.Path) -> pathlib.Path:
    """A model of Acme's: y = 0.5 x + 2."""
    model = tmp_path / "formula"
    model.mkdir()
    (model / "formula.json").write_text('{"factor": 0.5, "offset": 2}')
    return model


#: The package's own tests need it installed: test_acme.py runs them so.
collect_ignore = ["acme_package"]
