"""The part of a serving spec for servers that speak the Open Inference Protocol."""

from __future__ import annotations

from typing import Any

import pytest

from infra_validator.core.errors import SpecError
from infra_validator.serving_binaries.open_inference import binaries_of
from infra_validator.specs import RequestSpec, ServingSpec
from infra_validator.specs.agreement import check_agreement
from infra_validator.specs.binaries.open_inference import tensor_of

COMMAND: dict[str, Any] = {"command": ["/bin/true"], "extra_args": ["--port=${grpc_port}"]}
IMAGE: dict[str, Any] = {"image": "inference:1"}


def spec(platform: str = "local_process", **open_inference: Any) -> ServingSpec:
    return ServingSpec.of({"open_inference": open_inference, platform: {}, "model_name": "m"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FP32[-1,4]", (1, (-1, 4))),
        (" BYTES[ -1 , 1 ] ", (7, (-1, 1))),
        ("INT64[]", (9, ())),
        ("BF16[0]", (14, (0,))),
    ],
)
def test_a_tensor_is_a_datatype_and_a_shape(text: str, expected: tuple[int, tuple[int, ...]]) -> None:
    assert tensor_of(text, "p") == expected


@pytest.mark.parametrize(
    "text", ["FP32", "FP8[1]", "fp32[1]", "FP32[-2]", "FP32[1,]", "FP32[1][2]", "", "[1]", "FP32[x]"]
)
def test_what_is_none_is_told(text: str) -> None:
    with pytest.raises(SpecError, match=r"inputs\.x: must be a datatype and a shape, as in FP32\[-1,4\]"):
        spec(**COMMAND, inputs={"x": text}, outputs={"y": "FP32[1]"})


@pytest.mark.parametrize(
    ("platform", "fields", "said"),
    [
        ("local_process", {}, "command: must be the server's program"),
        ("local_process", {**COMMAND, **IMAGE}, "image: means nothing on local_process"),
        ("local_process", {"command": ["x"]}, "extra_args: do not tell the command on which port to listen"),
        ("local_process", {**COMMAND, "extra_args": ["${model}"]}, "holds a placeholder that is not filled in here"),
        ("local_process", {**COMMAND, "inputs": {"x": "FP32[1]"}}, "outputs: must be given with inputs"),
        ("local_docker", {}, "image: must name the server's image"),
        ("local_docker", {**IMAGE, "extra_args": ["${port_file}"]}, "placeholder that is not filled in here"),
        ("local_docker", {**IMAGE, "port": 0}, "port: must be"),
        ("kubernetes", {}, "image: must name the server's image"),
    ],
)
def test_what_a_platform_needs(platform: str, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=r"serving_spec\.open_inference") as caught:
        spec(platform, **fields)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "address", "said"),
    [
        (COMMAND, {}, "serving_spec.open_inference.command: has no effect"),
        ({"env": {"A": "b"}}, {}, "serving_spec.open_inference.env: has no effect"),
        ({}, {"rest": "a:1"}, "serving_spec.address.rest: has no effect"),
        ({}, {"version": 2}, "serving_spec.address.version: has no effect"),
    ],
)
def test_what_has_no_effect_on_a_server_that_is_already_there(
    fields: dict[str, Any], address: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError) as caught:
        ServingSpec.of({"open_inference": fields, "address": {"grpc": "a:1", **address}, "model_name": "m"})
    assert said in str(caught.value)


@pytest.mark.parametrize("asked", [{"protocols": ["rest"]}, {"make_warmup": True}], ids=["rest", "warm-up"])
def test_what_goes_with_tensorflow_serving_only(asked: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="request_spec"):
        check_agreement(spec(**COMMAND), None, RequestSpec.of(asked))


def test_the_launch_plan_of_an_image() -> None:
    fields = {**IMAGE, "extra_args": ["--repository=${model_base_path}"], "env": {"A": "b"}, "port": 8081}
    (binary,) = binaries_of(spec("local_docker", **fields, model_root="/mnt", model_version="3"))
    plan = binary.MakeLaunchPlan("/somewhere/7", "local_docker")
    assert (binary.label, plan.image, plan.command) == ("inference:1", "inference:1", ())
    assert plan.arguments(model_base_path=plan.model.model_base_path) == ["--repository=/mnt/m"]
    assert (plan.model.target, plan.ports) == ("/mnt/m/7", {"grpc": 8081})
    assert plan.env == {"PYTHONDONTWRITEBYTECODE": "1", "A": "b"}
    assert plan.client_arguments == {
        "model_version": "3",
        "typed_contents": False,
        "protocol": "grpc",
        "load": False,
        "first_asked": None,
    }


def test_over_rest_the_two_ports_change_places_in_the_launch_plan() -> None:
    fields = {**IMAGE, "extra_args": ["--http=${rest_port}", "--grpc=${grpc_port}"], "protocol": "rest", "port": 8080}
    (binary,) = binaries_of(spec("local_docker", **fields))
    plan = binary.MakeLaunchPlan("/somewhere/7", "local_docker")
    assert plan.arguments(grpc_port=1, rest_port=2) == ["--http=1", "--grpc=2"]
    assert plan.ports == {"grpc": 8080}
    assert plan.client_arguments["typed_contents"]
