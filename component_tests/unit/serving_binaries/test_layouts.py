"""The layouts of model repositories: what is made, where it appears, and what a model's own files must say."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import pytest

from infra_validator.core.errors import AttemptFailed, SpecError
from infra_validator.core.launch_plan import LaunchPlan
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.serving_binaries.layouts.triton_config import read_config
from infra_validator.serving_binaries.open_inference import binaries_of
from infra_validator.specs import ServingSpec

VALUES: dict[str, str | int] = {"grpc_port": 8001, "rest_port": 8000, "bind_address": "127.0.0.1"}
SKLEARN = {"implementation": "mlserver_sklearn.SKLearnModel"}


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(b"weights")
    return model


def plan(layout: dict[str, Any], model: pathlib.Path | str, platform: str = "local_process", **more: Any) -> LaunchPlan:
    server = {"command": ["/bin/true"]} if platform == "local_process" else {"image": "inference:1"}
    spec = ServingSpec.of({"open_inference": {**server, "layout": layout, **more}, platform: {}, "model_name": "m"})
    (binary,) = binaries_of(spec)
    return binary.MakeLaunchPlan(str(model), platform)


def filled(made: LaunchPlan) -> tuple[list[str], dict[str, str]]:
    values: dict[str, str | int] = {**VALUES, "model_base_path": made.model.model_base_path}
    return made.arguments(**values), made.model_file_texts(**values)


def give(model: pathlib.Path, name: str, text: str) -> None:
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text(text)


# ---------------------------------------------------------------- MLServer


def test_mlserver_gets_its_settings_made(model: pathlib.Path) -> None:
    layout = {"mlserver": {**SKLEARN, "uri": "weights.bin", "version": "v1", "extra": {"task": "$x"}}}
    arguments, files = filled(plan(layout, model))
    assert arguments == ["start", "/models/m"]
    assert json.loads(files["model-settings.json"]) == {
        "name": "m",
        **SKLEARN,
        "parameters": {"uri": "./1/weights.bin", "version": "v1", "extra": {"task": "$x"}},
    }
    ports = {"host": "127.0.0.1", "grpc_port": 8001, "http_port": 8000, "metrics_endpoint": None}
    assert json.loads(files["settings.json"]) == ports
    assert [path.name for path in model.iterdir()] == ["weights.bin"]


def test_mlserver_in_a_container_keeps_the_port_of_its_rest(model: pathlib.Path) -> None:
    made = plan({"mlserver": SKLEARN}, model, "local_docker", port=8081)
    files = made.model_file_texts(grpc_port=8081, bind_address="0.0.0.0")
    assert json.loads(files["settings.json"]) == {"host": "0.0.0.0", "grpc_port": 8081}
    assert json.loads(files["model-settings.json"])["parameters"] == {"uri": "./1"}


def test_a_models_own_settings_stay_where_they_are(model: pathlib.Path) -> None:
    give(model, "model-settings.json", json.dumps({"name": "m", **SKLEARN, "parameters": {"uri": "./weights.bin"}}))
    give(model, "settings.json", '{"parallel_workers": 0, "grpc_port": 1, "debug": "${x}"}')
    arguments, files = filled(plan({"mlserver": {}}, model))
    assert (arguments, set(files)) == (["start", "/models/m"], {"settings.json"})
    told = json.loads(files["settings.json"])
    assert (told["parallel_workers"], told["grpc_port"], told["debug"]) == (0, 8001, "${x}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "model-settings.json is not JSON"),
        ("[1]", "model-settings.json must be a JSON object"),
        ('{"name": "m"}', "must have the field implementation"),
        (json.dumps({"name": 1, **SKLEARN}), "must have the field name, a text, not 1"),
        (json.dumps({"name": "m", **SKLEARN, "parameters": []}), "a field parameters that is no object"),
        (json.dumps({"name": "m", **SKLEARN, "parameters": {"uri": 1}}), "a field parameters.uri that is no text"),
        (json.dumps({"name": "m", **SKLEARN, "parameters": {"uri": "./x.bin"}}), "x.bin does not exist; the field parameters.uri of"),
        ("x" * (1 << 20) + "x", "has more than 1048576 bytes"),
    ],
)  # fmt: skip
def test_mlservers_file_is_checked(model: pathlib.Path, text: str, said: str) -> None:
    give(model, "model-settings.json", text)
    with pytest.raises(AttemptFailed) as caught:
        plan({"mlserver": {}}, model)
    assert caught.value.reason is ReasonCode.MODEL_REPOSITORY_BROKEN
    assert said in caught.value.detail


def test_mlservers_file_may_leave_to_the_environment_what_it_reads_there(model: pathlib.Path) -> None:
    give(model, "model-settings.json", "{}")
    environment = {"MLSERVER_MODEL_NAME": "m", "MLSERVER_MODEL_IMPLEMENTATION": "x.Y"}
    assert plan({"mlserver": {}}, model, env=environment).args


# ---------------------------------------------------------------- Triton


def test_triton_gets_its_configuration_made(model: pathlib.Path) -> None:
    layout = {"triton": {"backend": "python", "max_batch_size": 8, "parameters": {"A": "$b"}}}
    described: dict[str, Any] = {"inputs": {"x": "FP32[-1,4]"}, "outputs": {"y": "BYTES[-1,1]"}}
    made = plan(layout, model, **described)
    arguments, files = filled(made)
    assert arguments[:2] == ["--model-repository=/models", "--grpc-port=8001"]
    assert "--http-port=8000" in arguments
    assert read_config(files["config.pbtxt"]) == {
        "name": ["m"],
        "backend": ["python"],
        "max_batch_size": [8],
        "input": [{"name": ["x"], "data_type": ["TYPE_FP32"], "dims": [4]}],
        "output": [{"name": ["y"], "data_type": ["TYPE_STRING"], "dims": [1]}],
        "parameters": [{"key": ["A"], "value": [{"string_value": ["$b"]}]}],
    }
    assert made.model.target == "/models/m/1"


def test_a_model_with_versions_is_the_whole_of_what_triton_reads(model: pathlib.Path) -> None:
    give(model, "1/model.py", "")
    give(model, "config.pbtxt", 'backend: "python" # a comment\ninstance_group [ { kind: KIND_CPU } ]\n')
    made = plan({"triton": {}}, model, "local_docker", extra_args=["--other=${model_path}"])
    assert (made.model.target, made.model.inside, dict(made.model_files)) == ("/models/m", "", {})
    told = made.arguments(grpc_port=8001, model_base_path="/models/m")
    assert told == ["--model-repository=/models", "--grpc-port=8001", "--other=/models/m"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"1/x": "", "config.pbtxt": "backend: {"},
            "config.pbtxt is no text proto of a ModelConfig: line 1, column 11",
        ),
        (
            {"1/x": "", "config.pbtxt": "max_batch_size: many"},
            "config.pbtxt is no text proto of a ModelConfig: the field max_batch_size",
        ),
        ({"config.pbtxt": 'backend: "python"'}, "holds no directory of a version, such as 1."),
        ({"01/x": "", "one/x": ""}, "holds no directory of a version, such as 1 and no config.pbtxt"),
    ],
)
def test_tritons_files_are_checked(model: pathlib.Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        give(model, name, text)
    with pytest.raises(AttemptFailed) as caught:
        plan({"triton": {}}, model)
    assert caught.value.reason is ReasonCode.MODEL_REPOSITORY_BROKEN
    assert said in caught.value.detail


TEXT = """
# what Triton's own documentation has
name: 'm' "odel"; platform: "onnxruntime_onnx"
max_batch_size: 0x8,
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] reshape { shape: [] } }, { name: "x#2" } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
optimization < cuda { graphs: true } >
instance_group [ { count: 1 kind: KIND_CPU } ]
rate: -1.5e3
version_policy: { latest { num_versions: 1 } }
"""


def test_the_text_format_is_read() -> None:
    fields = read_config(TEXT)
    assert (fields["name"], fields["max_batch_size"], fields["rate"]) == (["model"], [8], ["-1.5e3"])
    assert fields["input"] == [
        {"name": ["x"], "data_type": ["TYPE_FP32"], "dims": [-1, 4], "reshape": [{"shape": []}]},
        {"name": ["x#2"]},
    ]
    assert fields["optimization"] == [{"cuda": [{"graphs": ["true"]}]}]
    assert fields["version_policy"] == [{"latest": [{"num_versions": [1]}]}]
    assert read_config("") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name m", "line 1, column 1: after 'name' there must be ':' or a message"),
        ('name: "m', "line 1, column 7"),
        ("input [ { } { } ]", "there must be ']'"),
        ("\na: b }", "line 2, column 6: there must be the name of a field, not '}'"),
        ("a <", "there must be the name of a field, not ''"),
        ("a: }", "there must be a value, not '}'"),
        ("a: @", "'@' does not belong there"),
        ("a {" * 200, "it is nested too deeply"),
        ('name: "a" name: "b"', "the field name must be one text"),
        ("name { }", "the field name must be one text"),
    ],
)
def test_what_is_no_text_format_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        read_config(text)


# ---------------------------------------------------------------- KServe, plain, and what holds for all


def test_kserve_is_told_the_directory(model: pathlib.Path) -> None:
    arguments, files = filled(plan({"kserve": {}}, model))
    assert arguments == ["--model_name=m", "--model_dir=/models/m/1", "--grpc_port=8001", "--http_port=8000"]
    assert files == {}
    (model / "weights.bin").unlink()
    with pytest.raises(AttemptFailed, match="is empty"):
        plan({"kserve": {}}, model)


def test_plain_adds_nothing(model: pathlib.Path) -> None:
    with_port: dict[str, Any] = {"extra_args": ["--port=${grpc_port}", "--root=${model_root}"]}
    assert filled(plan({"plain": {}}, model, **with_port)) == (["--port=8001", "--root=/models"], {})


@pytest.mark.parametrize(("protocol", "told"), [("grpc", "grpc"), ("rest", "http")])
@pytest.mark.parametrize("layout", [{"mlserver": SKLEARN}, {"triton": {"backend": "b"}}, {"kserve": {}}], ids=str)
def test_in_a_container_a_server_is_told_the_port_that_it_is_asked_at(
    model: pathlib.Path, layout: dict[str, Any], protocol: str, told: str
) -> None:
    made = plan(layout, model, "local_docker", port=9000, protocol=protocol)
    values: dict[str, str | int] = {**VALUES, "grpc_port": made.ports["grpc"], "model_base_path": "/models/m"}
    texts = [*made.arguments(**values), *made.model_file_texts(**values).values()]
    ports = [port for text in texts for port in re.findall(r"(?:grpc|http)[_-]port\"?[=:] ?\d+", text)]
    assert [re.split(r"\W+", port.replace("_", "-")) for port in ports] == [[told, "port", "9000"]]


@pytest.mark.parametrize("layout", [{"mlserver": {}}, {"triton": {}}, {"kserve": {}}], ids=str)
def test_a_model_in_a_remote_store_is_passed_on(layout: dict[str, Any]) -> None:
    made = plan(layout, "gs://bucket/m", "kubernetes")
    assert made.model.target == ("/models/m" if "triton" in layout else "/models/m/1")


@pytest.mark.parametrize(
    ("layout", "files", "more", "field", "said"),
    [
        ({}, {}, {}, "layout", "names none; it must be one of mlserver, kserve, triton, plain"),
        ({"kserve": {}, "plain": {}}, {}, {}, "layout", "names kserve and plain"),
        ({"mlserver": {"uri": "x"}}, {}, {}, "layout.mlserver.implementation", "must be given with uri"),
        ({"mlserver": {**SKLEARN, "uri": "../x"}}, {}, {}, "layout.mlserver.uri", "a path inside the model's directory"),
        ({"triton": {"max_batch_size": 4}}, {}, {}, "layout.triton.backend", "must be given with max_batch_size"),
        ({"mlserver": SKLEARN}, {"model-settings.json": "{}"}, {}, "layout.mlserver.implementation", "is there already"),
        ({"triton": {"backend": "b"}}, {"config.pbtxt": ""}, {}, "layout.triton.backend", "is there already"),
        ({"triton": {"platform": "b"}}, {"7/x": ""}, {}, "layout.triton.platform", "holds versions: 7"),
        ({"mlserver": SKLEARN}, {}, {"command": ["mlserver", "start"]}, "command", "the layout mlserver adds it"),
        ({"plain": {}}, {}, {}, "extra_args", "do not tell the command on which port to listen"),
        (
            {"triton": {"backend": "b", "max_batch_size": 4}},
            {},
            {"inputs": {"x": "FP32[4]"}, "outputs": {"x": "FP32[-1,4]"}},
            "inputs.x",
            "must begin with the batch's dimension",
        ),
        (
            {"triton": {"backend": "b"}},
            {},
            {"inputs": {"x": "FP32[]"}, "outputs": {"x": "FP32[]"}},
            "inputs.x",
            "must have a dimension besides the batch's",
        ),
    ],
)  # fmt: skip
def test_what_a_spec_must_not_say(
    model: pathlib.Path, layout: dict[str, Any], files: dict[str, str], more: dict[str, Any], field: str, said: str
) -> None:
    for name, text in files.items():
        give(model, name, text)
    with pytest.raises(SpecError) as caught:
        plan(layout, model, **more)
    assert caught.value.field == f"serving_spec.open_inference.{field}"
    assert said in caught.value.detail


@pytest.mark.parametrize(
    ("layout", "files"),
    [
        ({"mlserver": {}}, {"model-settings.json": json.dumps({"name": "other", **SKLEARN})}),
        ({"triton": {}}, {"1/x": "", "config.pbtxt": 'name: "other"'}),
    ],
    ids=["mlserver", "triton"],
)
def test_a_file_that_gives_the_model_another_name(
    model: pathlib.Path, layout: dict[str, Any], files: dict[str, str]
) -> None:
    for name, text in files.items():
        give(model, name, text)
    with pytest.raises(SpecError, match=r"serving_spec\.model_name: is 'm', but the field name of .* is 'other'"):
        plan(layout, model)
