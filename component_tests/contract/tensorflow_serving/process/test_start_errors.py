"""Contract 1.4: flags and files that end the start, and how."""

from __future__ import annotations

import pathlib
import signal

import pytest

from component_tests.contract.tensorflow_serving.process.test_process import last_line, run
from component_tests.contract.tensorflow_serving.requests import predict_request, spec, tensor
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import (
    embedded_server,
)

pytestmark = pytest.mark.slow


LIST = "model_config_list {{ {} }}"
M = 'config {{ name: "m" base_path: "{}" {} }}'
OK = 'model_platform: "tensorflow"'


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (
            ["--port=0"],
            "INVALID_ARGUMENT: At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.",
        ),
        (
            ["--use_alts_credentials", "--ssl_config_file=/x"],
            "INVALID_ARGUMENT: Either use_alts_credentials must be false or ssl_config_file must be empty.",
        ),
        (
            [],
            "INVALID_ARGUMENT: Both server_options.model_base_path and server_options.model_config_file are empty!",
        ),
        (["--model_config_file=/no/such"], "NOT_FOUND: /no/such; No such file or directory"),
        (
            ["--model_base_path=/x", "--batching_parameters_file=/x"],
            "INVALID_ARGUMENT: server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true.",
        ),
        (
            ["--model_base_path=/x"]
            + [f"--tensorflow_{kind}_parallelism=1" for kind in ("session", "intra_op", "inter_op")],
            "INVALID_ARGUMENT: Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) separately. "
            "You cannot configure all.",
        ),
        (
            ["--model_base_path=relative", "--model_name=m"],
            "INVALID_ARGUMENT: Expected model m to have an absolute path or URI; got base_path()=relative",
        ),
    ],
)
def test_1_4_start_errors_of_flags(flags: list[str], error: str) -> None:
    done = run(*flags)
    assert (done.returncode, last_line(done)) == (255, f"Failed to start server. Error: {error}")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (LIST.format(M.format("rel", OK)), "Expected model m to have an absolute path or URI; got base_path()=rel"),
        (LIST.format(M.format("/x", OK) * 2), "Illegal to list model m multiple times in config list"),
        (
            LIST.format(M.format("/x", "")),
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform, model name is m",
        ),
        (
            LIST.format(M.format("/x", OK + " model_type: TENSORFLOW")),
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            "ModelServerConfig::model_platform, model name is m",
        ),
        (LIST.format(M.format("/x", "model_type: OTHER")), "ModelServerConfig::model_type choice 2 not supported."),
        (LIST.format(M.format("/x", 'model_platform: "torch"')), "Model m requests unsupported platform torch"),
        ("model_config_list { nonsense: 1 }", "Invalid protobuf file: '{path}'"),
        ("\xff", "Invalid protobuf file: '{path}'"),
    ],
)
def test_1_4_start_errors_of_model_config_files(tmp_path: pathlib.Path, content: str, error: str) -> None:
    config = tmp_path / "models.config"
    config.write_text(content, encoding="latin-1")
    done = run(f"--model_config_file={config}")
    expected = f"Failed to start server. Error: INVALID_ARGUMENT: {error.format(path=config)}"
    assert (done.returncode, last_line(done)) == (255, expected)
    assert "Traceback" not in done.stderr


def test_1_4_labels_in_the_first_configuration_fail_the_start(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    config = tmp_path / "models.config"
    label = OK + ' version_labels { key: "stable" value: 1 }'
    config.write_text(LIST.format(M.format(saved_models.base_path("half_plus_two"), label)))
    done = run(f"--model_config_file={config}")
    assert (done.returncode, last_line(done)) == (
        255,
        "Failed to start server. Error: FAILED_PRECONDITION: Request to assign label to version 1 of model m, "
        "which is not currently available for inference",
    )
    allowed = "--allow_version_labels_for_unavailable_models"
    with embedded_server(f"--model_config_file={config}", allowed) as server:
        response = server.predict(predict_request(spec("m", label="stable"), x=tensor([1.0])))
        assert response.model_spec == spec("m", "serving_default", 1)


def test_1_4_custom_model_config_aborts(tmp_path: pathlib.Path) -> None:
    config = tmp_path / "models.config"
    config.write_text("custom_model_config {}")
    done = run(f"--model_config_file={config}")
    assert done.returncode == -signal.SIGABRT
    assert "ModelServer does not yet support custom model config." in done.stderr
