"""What another package offers, by its names in a pipeline: the component's constructor, the driver, the executor."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import pytest

from component_tests.component.extending.conftest import acme  # noqa: F401 - the example package, installed
from component_tests.fakes import tfx_artifacts
from component_tests.fakes.saved_models import SavedModels
from infra_validator.core.errors import SpecError

pytestmark = [pytest.mark.tfx, pytest.mark.slow]

SERVING: dict[str, Any] = {"tensorflow_serving": {}, "acme_nice": {"level": 3}}
ASKED: dict[str, Any] = {"acme_ramp": {"count": 5}}
LIMITS: dict[str, Any] = {"answers": {"acme_steps": {"output": "y", "step": 0.5}}}


@pytest.fixture(autouse=True)
def installed(acme: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.syspath_prepend(acme)
    monkeypatch.setenv("PYTHONPATH", str(acme), prepend=os.pathsep)


def properties() -> dict[str, str]:
    """The execution properties of a component in a pipeline."""
    from tfx import types
    from tfx.types import standard_artifacts

    from infra_validator.component import InfraValidator

    component = InfraValidator(
        model=types.Channel(type=standard_artifacts.Model),
        serving_spec=SERVING,
        request_spec=ASKED,
        validation_spec=LIMITS,
    )
    return {name: str(value) for name, value in component.exec_properties.items()}


def test_the_constructor_takes_their_names_and_tells_what_is_wrong_with_them() -> None:
    assert json.loads(properties()["serving_spec"])["acme_nice"] == {"level": 3}
    from tfx import types
    from tfx.types import standard_artifacts

    from infra_validator.component import InfraValidator

    with pytest.raises(SpecError, match=r"acme_nice\.level: must be from 0 to 19"):
        InfraValidator(
            model=types.Channel(type=standard_artifacts.Model),
            serving_spec={"tensorflow_serving": {}, "acme_nice": {"level": 99}},
        )


def test_driver_and_executor(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    from infra_validator.driver import resolve
    from infra_validator.executor import Executor

    given = properties()
    given.update(resolve(given))
    model = tfx_artifacts.model_artifact(tmp_path / "model", saved_models.path("half_plus_two"))
    blessing = tfx_artifacts.blessing_artifact(tmp_path / "blessing")
    Executor().Do({"model": [model]}, {"blessing": [blessing]}, given)
    verdict = json.loads((tmp_path / "blessing" / "verdict.json").read_text())
    assert verdict["verdict"] == "BLESSED"
    assert verdict["serving_binaries"][0]["platform"] == "acme_nice"
    assert (verdict["evidence"]["source"], verdict["evidence"]["requests"]) == ("offered", 5)
    checks = {check["name"]: check["outcome"] for check in verdict["evidence"]["checks"]}
    assert checks["acme_steps"] == "passed"
