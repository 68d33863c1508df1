"""A model of TensorFlow Decision Forests on the embedded server, in an environment that has the package."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from infra_validator.api import run_validation
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import ValidationReport, Verdict

pytestmark = [pytest.mark.decision_forests, pytest.mark.timeout(1800)]

#: Learns that y is 1 where x is above 40, and exports it as the package's guide does.
TRAINING = """
import sys

import numpy
import tensorflow as tf
import tensorflow_decision_forests as tfdf

x = numpy.arange(100, dtype="float32")
y = (x > 40).astype("int64")
model = tfdf.keras.GradientBoostedTreesModel(num_trees=20, verbose=0)
model.fit(tf.data.Dataset.from_tensor_slices(({"x": x}, y)).batch(100))
signature = tf.function(
    lambda x: {"probability": model({"x": x})}, input_signature=[tf.TensorSpec([None], tf.float32, name="x")]
)
tf.saved_model.save(model, sys.argv[1], signatures=signature)
"""


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A SavedModel with a forest."""
    model = tmp_path_factory.mktemp("forest") / "1"
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}  # the package is made for Keras 2
    command = [sys.executable, "-W", "ignore", "-c", TRAINING, str(model)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return model


@pytest.fixture
def without_the_package(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that finds an empty package in its place."""
    package = tmp_path / "tensorflow_decision_forests"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def validated(forest: pathlib.Path, tmp_path: pathlib.Path, x: float, **config: Any) -> ValidationReport:
    """Asked for the probability of ``x``, which has to be one where x is above 40."""
    requests = tmp_path / "requests.json"
    requests.write_text(f'{{"instances": [{x}]}}')
    expected = [0.9, 1] if x > 40 else [0, 0.1]
    return run_validation(
        forest,
        {"tensorflow_serving": {}, "local_process": config, "model_name": "m"},
        {"num_tries": 2, "max_loading_time_seconds": 300, "answers": {"ranges": {"probability": expected}}},
        requests=requests,
    )


@pytest.mark.parametrize("x", [3.0, 77.0])
def test_a_forest_answers(x: float, forest: pathlib.Path, tmp_path: pathlib.Path) -> None:
    report = validated(forest, tmp_path, x)
    assert report.verdict is Verdict.BLESSED, report.finding
    assert report.evidence.requests == 1


@pytest.mark.usefixtures("without_the_package")
def test_where_the_package_is_not_installed_the_model_is_not_blamed(
    forest: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    report = validated(forest, tmp_path, 3.0)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.OP_NOT_IN_STAND_IN)
    assert "infra-validator[decision_forests]" in report.finding.detail


@pytest.mark.usefixtures("without_the_package")
def test_the_library_alone_is_enough(forest: pathlib.Path, tmp_path: pathlib.Path) -> None:
    found = importlib.util.find_spec("tensorflow_decision_forests")
    assert found is not None
    assert found.submodule_search_locations
    library = pathlib.Path(found.submodule_search_locations[0], "tensorflow", "ops", "inference", "inference.so")
    report = validated(forest, tmp_path, 77.0, op_libraries=[str(library)])
    assert report.verdict is Verdict.BLESSED, report.finding
