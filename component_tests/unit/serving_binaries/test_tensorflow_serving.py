from __future__ import annotations

import os
import pathlib
import stat
import sys
from typing import Any

import pytest

from infra_validator.core.errors import InfrastructureError, SpecError
from infra_validator.core.launch_plan import LaunchPlan
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.serving_binaries import tensorflow_serving
from infra_validator.serving_binaries.tensorflow_serving import binaries_of, version_of
from infra_validator.specs import ServingSpec

VALUES: dict[str, str | int] = {
    "grpc_port": 1111,
    "rest_port": 2222,
    "port_file": "/t/ports.json",
    "bind_address": "127.0.0.1",
    "model_base_path": "/t/models/m",
    "files_dir": "/t/files",
}


def spec(*, platform: str = "local_process", platform_config: Any = None, **binary: Any) -> ServingSpec:
    return ServingSpec.of({"tensorflow_serving": binary, platform: platform_config or {}, "model_name": "m"})


def the_plan(serving_spec: ServingSpec, model: str = "/models/taxi/7") -> LaunchPlan:
    (binary,) = binaries_of(serving_spec)
    assert binary.client == "tensorflow_serving"
    return binary.MakeLaunchPlan(model, serving_spec.platform)


@pytest.fixture
def program(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "bin" / "tensorflow_model_server"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/models/taxi/7", 7),
        ("/models/taxi/00123/", 123),
        ("gs://bucket/taxi/1700000000", 1700000000),
        ("/artifacts/Model/3/Format-Serving", 1),
        ("/models/taxi/0", 1),
        ("/models/taxi/-5", 1),
        ("/models/taxi/7.0", 1),
        ("/models/taxi/" + "9" * 19, 1),
        ("7", 7),
    ],
)
def test_the_version_is_the_directory_s_number_else_1(path: str, version: int) -> None:
    assert version_of(path) == version


def test_one_binary_for_each_tag_and_digest() -> None:
    digest = "sha256:" + "a" * 64
    binaries = binaries_of(spec(platform="local_docker", tags=["2.19.0", "latest"], digests=[digest]))
    assert [binary.label for binary in binaries] == [
        "tensorflow/serving:2.19.0",
        "tensorflow/serving:latest",
        f"tensorflow/serving@{digest}",
    ]


def test_an_image_keeps_its_entry_point_and_gets_its_environment() -> None:
    plan = the_plan(
        spec(platform="local_docker", image_name="my/serving", tags=["1"], extra_args=["--enable_batching", "--x=$a"])
    )
    assert (plan.image, plan.command) == ("my/serving:1", ())
    assert plan.env == {"MODEL_NAME": "m", "MODEL_BASE_PATH": "/models"}
    assert plan.model.target == "/models/m/7"
    assert plan.arguments() == ["--enable_batching", "--x=$a", "--max_num_load_retries=0"]


def test_the_program_that_is_named(program: str) -> None:
    plan = the_plan(spec(platform_config={"binary_path": program}))
    assert plan.command == (program,)
    assert plan.label == program
    assert plan.arguments(**VALUES) == [
        "--port=1111",
        "--rest_api_port=2222",
        "--model_name=m",
        "--model_base_path=/t/models/m",
        "--grpc_channel_arguments=grpc.so_reuseport=0",
        "--max_num_load_retries=0",
    ]


def test_a_relative_path_means_the_directory_we_are_in(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(os.path.dirname(program))
    assert the_plan(spec(platform_config={"binary_path": "./tensorflow_model_server"})).command == (program,)


def test_the_program_on_the_path_comes_before_the_embedded_server(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.path.dirname(program))
    assert the_plan(spec()).command == (program,)


def test_tags_are_optional_for_local_processes_and_one_server_runs(program: str) -> None:
    assert len(binaries_of(spec(tags=["1", "2"], platform_config={"binary_path": program}))) == 1


def test_a_name_that_is_not_on_the_path(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server").touch()
    with pytest.raises(InfrastructureError) as caught:
        binaries_of(spec(platform_config={"binary_path": "server"}))
    assert caught.value.reason is ReasonCode.BINARY_NOT_FOUND
    assert "./server" in caught.value.next_step


@pytest.fixture
def only_embedded(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """No program on the PATH, and a TensorFlow wheel as far as the binary looks at it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    return package


def test_the_embedded_server_chooses_its_ports(only_embedded: pathlib.Path) -> None:
    (only_embedded / "libtensorflow_cc.so.2").touch()
    plan = the_plan(spec())
    assert plan.command == (sys.executable, "-m", "infra_validator.embedded_server")
    assert plan.label.startswith("embedded model server ")
    assert plan.arguments(**VALUES) == [
        "--port_file=/t/ports.json",
        "--bind_address=127.0.0.1",
        "--model_name=m",
        "--model_base_path=/t/models/m",
        "--max_num_load_retries=0",
    ]
    package = pathlib.Path(tensorflow_serving.__file__).parents[1]
    assert str(package.parent) in plan.env["PYTHONPATH"].split(os.pathsep)


def test_the_embedded_server_takes_a_fixed_port(only_embedded: pathlib.Path) -> None:
    (only_embedded / "libtensorflow_cc.so.2").touch()
    plan = the_plan(spec(platform_config={"grpc_port": 1111}))
    assert plan.arguments(**VALUES)[:2] == ["--port=1111", "--rest_api_port=2222"]
    assert not plan.uses("port_file")


def test_without_tensorflow_s_library_the_extra_is_named(only_embedded: pathlib.Path) -> None:
    with pytest.raises(InfrastructureError) as caught:
        binaries_of(spec())
    assert caught.value.reason is ReasonCode.EMBEDDED_SERVER_NOT_INSTALLED
    assert "infra-validator[embedded]" in caught.value.next_step


@pytest.mark.parametrize("argument", ["--port=9000", "--port", "--model_name=x", "--model_base_path=/x", "--rest_api_port=1",
                                      "--model_config_file=x", "--version", "--grpc_socket_path=/x", "--bind_address=0.0.0.0"])  # fmt: skip
@pytest.mark.parametrize("where", ["tensorflow_serving", "local_process"])
def test_arguments_that_collide_with_ours_are_refused(argument: str, where: str, program: str) -> None:
    given: dict[str, Any] = {"tensorflow_serving": {}, "local_process": {"binary_path": program}}
    given[where]["extra_args"] = ["--enable_batching", argument]
    with pytest.raises(SpecError) as caught:
        binaries_of(ServingSpec.of(given))
    assert caught.value.field == f"serving_spec.{where}.extra_args[1]"
    assert repr(argument) in str(caught.value)


def test_arguments_of_both_places_are_appended_and_ours_come_last(program: str) -> None:
    plan = the_plan(
        spec(
            extra_args=["--enable_batching", "--max_num_load_retries=5", "--grpc_channel_arguments=grpc.x=1"],
            platform_config={"binary_path": program, "extra_args": ["--a=${grpc_port}"]},
        )
    )
    assert plan.arguments(**VALUES)[4:] == [
        "--enable_batching",
        "--max_num_load_retries=5",
        "--a=${grpc_port}",
        "--grpc_channel_arguments=grpc.x=1,grpc.so_reuseport=0",
        "--max_num_load_retries=0",
    ]


def test_refused_arguments_are_repeated(program: str) -> None:
    (binary,) = binaries_of(spec(extra_args=["--enable_batching=$9"], platform_config={"binary_path": program}))
    explained = binary.Explain("Failed to start server. Error: INVALID_ARGUMENT: server_options are wrong.")
    assert explained is not None
    assert explained[0] is ReasonCode.BAD_SPEC
    assert explained[1].endswith(
        "server_options are wrong. The arguments that the serving spec's extra_args add: --enable_batching=$9"
    )
    assert binary.Explain("all is well") is None


CONFIG = """
model_config_list {
  config { name: "other" base_path: "/prod/other" model_platform: "tensorflow" }
  config {
    name: "m"
    base_path: "/prod/m"
    model_platform: "tensorflow"
    model_version_policy { POLICY }
    logging_config { log_collector_config { filename_prefix: "cost$" } }
    version_labels { key: "stable" value: 42 }
  }
}
"""


def config_file(directory: pathlib.Path, text: str) -> str:
    path = directory / "models.config"
    path.write_text(text)
    return str(path)


def test_the_model_config_file_is_served_as_written_but_for_names_and_paths(
    program: str, tmp_path: pathlib.Path
) -> None:
    path = config_file(tmp_path, CONFIG.replace("POLICY", "specific { versions: 42 }"))
    plan = the_plan(spec(model_config_file=path, platform_config={"binary_path": program}))
    assert "--model_config_file=/t/files/models.config" in plan.arguments(**VALUES)
    text = plan.file_texts(**VALUES)["models.config"]
    assert 'base_path: "/t/models/m"' in text
    assert 'filename_prefix: "cost$"' in text
    assert 'key: "stable"' in text  # production's server refuses it, or does not; so does this one
    for gone in ("other", "/prod"):
        assert gone not in text


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ("versions: 7", ""),
        ("versions: 6 versions: 7", "version 7 is served in place of the policy's specific versions (6, 7)."),
        (
            "versions: 42",
            "version 7 is served in place of the policy's specific versions (42), which does not name it.",
        ),
    ],
)
def test_what_cannot_be_served_as_written_is_said(
    program: str, tmp_path: pathlib.Path, versions: str, said: str
) -> None:
    path = config_file(tmp_path, CONFIG.replace("POLICY", f"specific {{ {versions} }}"))
    plan = the_plan(spec(model_config_file=path, platform_config={"binary_path": program}))
    others, *policies = plan.notes
    assert others == f"{path}: only m is served, not other."
    assert policies == ([f"{path}: {said}"] if said else [])
    assert "versions: 7" in plan.files["models.config"]


def test_a_version_policy_that_holds_everywhere_is_kept(program: str, tmp_path: pathlib.Path) -> None:
    path = config_file(tmp_path, CONFIG.replace("POLICY", "all {}"))
    plan = the_plan(spec(model_config_file=path, platform_config={"binary_path": program}))
    assert "all {" in plan.files["models.config"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model_config_list { config { nam: 'm' } }", "text format"),
        ("model_config_list { config { name: 'n' } }", "it has n"),
        ("", "no model"),
        (None, "No such file"),
    ],
)
def test_a_wrong_model_config_file_names_the_field(
    text: str | None, problem: str, program: str, tmp_path: pathlib.Path
) -> None:
    path = str(tmp_path / "absent") if text is None else config_file(tmp_path, text)
    with pytest.raises(SpecError, match=problem) as caught:
        binaries_of(spec(model_config_file=path, platform_config={"binary_path": program}))
    assert caught.value.field == "serving_spec.tensorflow_serving.model_config_file"
