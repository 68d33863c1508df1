from __future__ import annotations

import pathlib

from infra_validator.specs import RequestSpec, ServingSpec
from infra_validator.specs.named_files import named_files


def test_every_file_that_a_spec_names_is_found_by_its_field(tmp_path: pathlib.Path) -> None:
    for name in ("config", "server", "batching"):
        (tmp_path / name).write_text(name)
    spec = ServingSpec.of(
        {
            "tensorflow_serving": {
                "model_config_file": str(tmp_path / "config"),
                "extra_args": ["--enable_batching", f"--batching_parameters_file={tmp_path}/batching", "--x=/absent"],
            },
            "local_process": {"binary_path": str(tmp_path / "server")},
        }
    )
    assert named_files(serving_spec=spec, request_spec=RequestSpec.of(None)) == {
        "serving_spec.tensorflow_serving.model_config_file": f"{tmp_path}/config",
        "serving_spec.tensorflow_serving.extra_args[1]": f"{tmp_path}/batching",
        "serving_spec.local_process.binary_path": f"{tmp_path}/server",
    }


def test_a_program_is_looked_for_on_the_path_and_only_the_program() -> None:
    spec = ServingSpec.of({"model_runtime": {"command": ["sh", "/etc/passwd"]}, "local_process": {"grpc_port": 8085}})
    (found,) = named_files(serving_spec=spec).values()
    assert found.endswith("/sh")


def test_directories_and_nothing_are_no_files(tmp_path: pathlib.Path) -> None:
    mount = {"source": str(tmp_path), "target": "/x"}
    spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "local_docker": {"mounts": [mount]}})
    assert named_files(serving_spec=spec) == {}
