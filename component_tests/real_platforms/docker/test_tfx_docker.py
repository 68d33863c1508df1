"""TFX's portable launcher with the driver and a real Docker daemon: what is cached, and what a moved tag does."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.real_platforms.docker_images import build

pytestmark = [pytest.mark.docker, pytest.mark.tfx, pytest.mark.timeout(1200)]


@pytest.fixture
def image() -> Iterator[str]:
    """A name of our own without a tag; every tag that the test gives it is taken away again."""
    name = f"{build.PREFIX}/moving-{uuid.uuid4().hex[:8]}"
    yield name
    tags = build.docker("images", "--format", "{{.Repository}}:{{.Tag}}", name).split()
    for tag in tags:
        with contextlib.suppress(build.CannotBuild):
            build.docker("rmi", tag)


def image_id(name: str) -> str:
    return build.docker("image", "inspect", "-f", "{{.Id}}", name).strip()


class Pipeline:
    """Importer and InfraValidator in one directory."""

    def __init__(self, directory: pathlib.Path, saved_model: pathlib.Path) -> None:
        self.directory = directory
        shutil.copytree(saved_model, directory / "model" / "Format-Serving")

    def run(self, serving_spec: Any) -> None:
        from tfx import v1 as tfx

        from infra_validator.component import InfraValidator

        model = tfx.dsl.Importer(
            source_uri=str(self.directory / "model"), artifact_type=tfx.types.standard_artifacts.Model
        ).with_id("Model")
        validator = InfraValidator(
            model=model.outputs["result"], serving_spec=serving_spec, validation_spec={"num_tries": 1}
        )
        tfx.orchestration.LocalDagRunner().run(
            tfx.dsl.Pipeline(
                pipeline_name="moved-tag",
                pipeline_root=str(self.directory / "root"),
                components=[model, validator],
                enable_cache=True,
                metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                    str(self.directory / "metadata.sqlite")
                ),
            )
        )

    def verdicts(self) -> list[Any]:
        """The verdict.json of every validation that was carried out, oldest first."""
        files = (self.directory / "root" / "InfraValidator" / "blessing").glob("*/verdict.json")
        return [json.loads(file.read_text()) for file in sorted(files, key=lambda file: int(file.parent.name))]


def test_first_run_cached_run_and_a_moved_tag(tmp_path: pathlib.Path, saved_models: SavedModels, image: str) -> None:
    serving = build.serving()
    build.docker("tag", serving, f"{image}:latest")
    pipeline = Pipeline(tmp_path, saved_models.path("half_plus_two"))
    spec = {"tensorflow_serving": {"image_name": image, "tags": ["latest"]}, "local_docker": {}}

    pipeline.run(spec)
    pipeline.run(spec)
    first = pipeline.verdicts()
    assert [verdict["verdict"] for verdict in first] == ["BLESSED"]  # the second run was cached
    assert image_id(f"{image}:latest") in first[0]["serving_binaries"][0]["label"]

    build.docker("tag", build.variant("moved", serving, f"LABEL moved={uuid.uuid4().hex}"), f"{image}:latest")
    pipeline.run(spec)
    both = pipeline.verdicts()
    assert [verdict["verdict"] for verdict in both] == ["BLESSED", "BLESSED"]
    assert image_id(f"{image}:latest") in both[1]["serving_binaries"][0]["label"]
    assert both[0]["serving_binaries"][0]["label"] != both[1]["serving_binaries"][0]["label"]


def test_without_a_daemon_the_driver_leaves_the_tag_and_the_executor_says_so(
    tmp_path: pathlib.Path, saved_models: SavedModels, caplog: pytest.LogCaptureFixture
) -> None:
    from infra_validator.core.errors import InfrastructureError
    from infra_validator.core.reason_codes import ReasonCode

    spec = {
        "tensorflow_serving": {"tags": ["latest"]},
        "local_docker": {"client_base_url": f"unix://{tmp_path}/no-daemon.sock"},
    }
    with caplog.at_level("INFO", "infra_validator.driver"), pytest.raises(InfrastructureError) as caught:
        Pipeline(tmp_path, saved_models.path("half_plus_two")).run(spec)
    assert caught.value.reason is ReasonCode.DOCKER_NOT_RUNNING
    assert "resolved by the executor" in caplog.text
