"""Contract 2.6, 2.7 and 5: labels and changes of the configuration."""

from __future__ import annotations

import pathlib

import grpc
import pytest

from component_tests.contract.tensorflow_serving.conftest import model_config
from component_tests.contract.tensorflow_serving.requests import (
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    MODEL,
    NOT_FOUND,
    fails,
    predict_request,
    spec,
    status,
    tensor,
)
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess, embedded_server
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

pytestmark = pytest.mark.slow

X = tensor([1.0])
RELOAD = MODEL + "HandleReloadConfigRequest"
AVAILABLE = "AVAILABLE"


def reload_request(*models: serving_pb2.ModelConfig, metrics: tuple[str, ...] = ()) -> serving_pb2.ReloadConfigRequest:
    request = serving_pb2.ReloadConfigRequest(metric_names=metrics)
    request.config.model_config_list.SetInParent()
    request.config.model_config_list.config.extend(models)
    return request


def model(name: str, base_path: pathlib.Path, **labels: int) -> serving_pb2.ModelConfig:
    return serving_pb2.ModelConfig(
        name=name, base_path=str(base_path), model_platform="tensorflow", version_labels=labels
    )


def reload(server: EmbeddedServerProcess, *models: serving_pb2.ModelConfig, timeout: float = 60) -> None:
    response = server.call(RELOAD, reload_request(*models), serving_pb2.ReloadConfigResponse, timeout)
    assert response.HasField("status")
    assert (response.status.error_code, response.status.error_message) == (0, "")


def test_5_reload_adds_waits_and_replaces(saved_models: SavedModels) -> None:
    first, second = (model(name, saved_models.base_path(name)) for name in ("half_plus_two", "matmul"))
    with embedded_server(f"--model_base_path={first.base_path}", "--model_name=half_plus_two") as server:
        reload(server, first, second)
        assert status(server, spec("matmul")) == [(1, AVAILABLE, 0, "")]  # at once: the call has waited
        reload(server, second)
        server.wait_until(lambda: status(server, spec("half_plus_two")) == [(1, "END", 0, "")], "the unload")
        with fails(NOT_FOUND, "Servable not found for request: Latest(half_plus_two)"):
            server.predict(predict_request(spec("half_plus_two"), x=X))
        reload(server, first)  # the same version comes back
        assert status(server, spec("half_plus_two")) == [(1, AVAILABLE, 0, "")]
        reload(server)
        server.wait_until(lambda: status(server, spec("half_plus_two")) == [(1, "END", 0, "")], "the unload")


def test_5_refused_configurations_change_nothing(server: EmbeddedServerProcess, saved_models: SavedModels) -> None:
    good = saved_models.base_path("half_plus_two")
    only_lists = (
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
    )
    other = serving_pb2.ReloadConfigRequest()
    other.config.custom_model_config.SetInParent()
    torch = model("half_plus_two", good)
    torch.model_platform = "torch"
    for request, text in (
        (serving_pb2.ReloadConfigRequest(), only_lists),
        (other, only_lists),
        (reload_request(model("m", pathlib.Path("relative"))), "Expected model m to have an absolute path or URI; "),
        (reload_request(*[model("m", good)] * 2), "Illegal to list model m multiple times in config list"),
        (
            reload_request(torch),
            "Illegal to change a model's platform. For model half_plus_two platform was tensorflow "
            "and new platform requested is torch",
        ),
    ):
        with fails(INVALID_ARGUMENT, text, starts=True):
            server.call(RELOAD, request)
    assert status(server, spec("half_plus_two")) == [(1, AVAILABLE, 0, "")]


def test_5_a_failing_new_model_leaves_the_others(saved_models: SavedModels) -> None:
    good = model("good", saved_models.base_path("half_plus_two"))
    with embedded_server(f"--model_base_path={good.base_path}", "--model_name=good") as server:
        more = [model("bad", saved_models.base_path("empty_pb")), model("fine", saved_models.base_path("matmul"))]
        text = "1 model(s) did not become available: {{{name: bad version: 1} due to error: NOT_FOUND: "
        with fails(grpc.StatusCode.UNKNOWN, text, starts=True):
            server.call(RELOAD, reload_request(good, *more))
        server.wait_until(lambda: status(server, spec("fine")) == [(1, AVAILABLE, 0, "")], "the good new one")
        assert server.predict(predict_request(spec("good"), x=X)).model_spec.name == "good"


def test_5_a_reload_waits_for_a_base_path_and_the_client_may_leave(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    good = model("good", saved_models.base_path("half_plus_two"))
    with embedded_server(f"--model_base_path={good.base_path}", "--model_name=good") as server:
        with pytest.raises(grpc.RpcError) as caught:
            reload(server, good, model("absent", tmp_path / "absent"), timeout=1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert server.predict(predict_request(spec("good"), x=X)).model_spec.name == "good"
        saved_models.copy("half_plus_two", tmp_path / "absent")
        server.wait_until(lambda: " Successfully loaded servable version {name: absent" in server.stderr, "the load")


def test_5_metric_names(saved_models: SavedModels) -> None:
    good = model("good", saved_models.base_path("half_plus_two"))
    with embedded_server(f"--model_base_path={good.base_path}", "--model_name=good") as server:
        loads = "/tensorflow/cc/saved_model/load_attempt_count"
        request = reload_request(good, metrics=(loads, "/no/such"))
        response = server.call(RELOAD, request, serving_pb2.ReloadConfigResponse)
        assert [(metric.name, metric.int64_value_increase) for metric in response.metric] == [
            (loads, 0),
            ("/no/such", 0),
        ]


def test_2_6_labels(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    saved_models.copy("half_plus_two", tmp_path / "m", 1)
    saved_models.copy("half_plus_two", tmp_path / "m", 2)

    def labelled(**labels: int) -> serving_pb2.ModelConfig:
        config = model("m", tmp_path / "m", **labels)
        config.model_version_policy.all.SetInParent()
        return config

    unavailable = "Request to assign label to version {} of model m, which is not currently available for inference"
    with embedded_server(f"--model_base_path={tmp_path / 'm'}", "--model_name=m") as server:
        with fails(FAILED_PRECONDITION, unavailable.format(1)):  # not loaded before this reload
            reload(server, labelled(stable=1))
        reload(server, labelled())
        server.wait_until(lambda: (1, AVAILABLE, 0, "") in status(server, spec("m")), "version 1")  # unknown at first
        reload(server, labelled(stable=1, canary=2))
        for label, version in (("stable", 1), ("canary", 2)):
            answer = server.predict(predict_request(spec("m", label=label), x=X))
            assert answer.model_spec == spec("m", "serving_default", version)
        with fails(FAILED_PRECONDITION, unavailable.format(3)):
            reload(server, labelled(stable=3))
        assert server.predict(predict_request(spec("m", label="stable"), x=X)).model_spec.version.value == 1
        reload(server, labelled(stable=2))  # all labels are replaced
        assert server.predict(predict_request(spec("m", label="stable"), x=X)).model_spec.version.value == 2
        with fails(INVALID_ARGUMENT, "Unrecognized servable version label: canary"):
            server.predict(predict_request(spec("m", label="canary"), x=X))


def test_2_6_labels_of_unavailable_versions_with_the_flag(saved_models: SavedModels) -> None:
    base = saved_models.base_path("half_plus_two")
    flags = [f"--model_base_path={base}", "--model_name=m", "--allow_version_labels_for_unavailable_models"]
    with embedded_server(*flags) as server:
        reload(server, model("m", base, future=9))
        with fails(NOT_FOUND, "Servable not found for request: Specific(m, 9)"):
            server.predict(predict_request(spec("m", label="future"), x=X))
        text = "Request to assign label to version 8 of model m, which is not currently available for inference"
        with fails(FAILED_PRECONDITION, text):  # moving a label needs an available target
            reload(server, model("m", base, future=8))


def test_2_7_the_file_is_applied_again_and_again(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    config = tmp_path / "models.config"
    one = {"a": saved_models.base_path("half_plus_two")}
    config.write_text(model_config(one))
    with embedded_server(f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1") as server:
        config.write_text("nonsense")
        server.wait_until(lambda: "] Failed to read ModelServerConfig file: " in server.stderr, "the complaint")
        assert status(server, spec("a")) == [(1, AVAILABLE, 0, "")]
        config.write_text(model_config({**one, "b": saved_models.base_path("matmul")}))
        server.wait_until(lambda: "Successfully loaded servable version {name: b" in server.stderr, "the second model")
        assert status(server, spec("a")) == [(1, AVAILABLE, 0, "")]
