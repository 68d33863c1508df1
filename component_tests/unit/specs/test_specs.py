"""Specs: what is accepted, what is refused, and that the refusal names the field."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from infra_validator.core.errors import SpecError
from infra_validator.specs import (
    GenerateSpec,
    OnRejected,
    RequestSpec,
    ServingSpec,
    TensorFlowServingConfig,
    ValidationSpec,
)
from infra_validator.specs.agreement import check_agreement, check_examples

LOCAL: dict[str, Any] = {"tensorflow_serving": {}, "local_process": {}}


def test_tfx_defaults() -> None:
    limits = ValidationSpec.of(None)
    assert (limits.max_loading_time_seconds, limits.num_tries) == (300, 5)
    assert limits.on_rejected is OnRejected.RECORD
    asked = RequestSpec.of(None)
    assert (asked.split_name, asked.num_examples, asked.make_warmup) == ("", 1, False)
    assert asked.signature_names == ("serving_default",)
    assert asked.tag_set == {"serve"}
    spec = ServingSpec.of(LOCAL)
    assert spec.model_name == "infra-validation-model"
    assert spec.tensorflow_serving is not None
    assert spec.tensorflow_serving.image_name == "tensorflow/serving"


@pytest.mark.parametrize(
    "given",
    [
        {"tensorflow_serving": {"tags": ["2.19.0"]}, "local_docker": {"client_timeout_seconds": 5}},
        {"tensorflowServing": {"tags": ["2.19.0"]}, "localDocker": {"clientTimeoutSeconds": "5"}},
        '{"tensorflow_serving": {"tags": ["2.19.0"]}, "local_docker": {"client_timeout_seconds": 5}}',
        "tensorflow_serving:\n  tags: ['2.19.0']\nlocal_docker:\n  client_timeout_seconds: 5\n",
    ],
    ids=["snake_case", "camelCase with a 64-bit integer as a string", "JSON text", "YAML text"],
)
def test_one_spec_in_many_forms(given: Any) -> None:
    spec = ServingSpec.of(given)
    assert (spec.binary, spec.platform) == ("tensorflow_serving", "local_docker")
    assert spec.to_dict() == {
        "tensorflow_serving": {"tags": ["2.19.0"]},
        "local_docker": {"client_timeout_seconds": 5},
    }


def test_a_spec_is_read_from_a_file_and_read_back_from_its_own_dict(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(json.dumps({**LOCAL, "model_name": "taxi"}))
    spec = ServingSpec.of(str(file))
    assert ServingSpec.of(spec.to_dict()) == spec
    assert ServingSpec.of(spec) is spec


def test_kubernetes_overrides_of_tfx() -> None:
    overrides = {
        "annotations": {"a": "b"},
        "env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "resources": {"limits": {"memory": "1Gi"}},
    }
    spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "kubernetes": {"serving_pod_overrides": overrides}})
    assert spec.kubernetes is not None
    assert spec.kubernetes.serving_pod_overrides is not None
    variable = spec.kubernetes.serving_pod_overrides.env[0]
    assert variable.value_from is not None
    assert variable.value_from.secret_key_ref is not None
    assert variable.value_from.secret_key_ref.name == "s"


def _with(**fields: Any) -> dict[str, Any]:
    return {**LOCAL, **fields}


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        (_with(modelname="x"), "serving_spec.modelname", "'model_name'"),
        ({**LOCAL, "tensorflow_serving": {"tagz": []}}, "serving_spec.tensorflow_serving.tagz", "'tags'"),
        ({"tensorflow_serving": {"tags": ["1"]}}, "serving_spec", "exactly one serving platform"),
        ({"local_process": {}}, "serving_spec", "exactly one serving binary"),
        (_with(local_docker={}), "serving_spec", "local_process and local_docker are given"),
        ({"tensorflow_serving": {}, "local_docker": {}}, "serving_spec.tensorflow_serving", "neither tags nor digests"),
        ({"tensorflow_serving": {}, "kubernetes": {}}, "serving_spec.tensorflow_serving", "neither tags nor digests"),
        (
            {"tensorflow_serving": {"tags": ["1"]}, "local_docker": {"client_timeout_seconds": -1}},
            "serving_spec.local_docker.client_timeout_seconds",
            "above 0",
        ),
        (
            {"tensorflow_serving": {"tags": ["1"]}, "local_docker": {"client_timeout_seconds": "soon"}},
            "serving_spec.local_docker.client_timeout_seconds",
            "a whole number, not a string",
        ),
        (
            {"tensorflow_serving": {"digests": ["sha256:12"]}, "local_docker": {}},
            "serving_spec.tensorflow_serving.digests[0]",
            "64 hexadecimal",
        ),
        (
            {"tensorflow_serving": {"tags": ["1"], "image_name": "a b"}, "local_docker": {}},
            "serving_spec.tensorflow_serving.image_name",
            "no image name",
        ),
        (_with(tensorflow_serving="latest"), "serving_spec.tensorflow_serving", "an object with named fields"),
        (_with(tensorflow_serving={"tags": "latest"}), "serving_spec.tensorflow_serving.tags", "a list, not a string"),
        (_with(local_process={"grpc_port": 70000}), "serving_spec.local_process.grpc_port", "0 to 65535"),
        (_with(local_process={"grpc_port": True}), "serving_spec.local_process.grpc_port", "not a boolean"),
        (_with(local_process={"memory_limit": "much"}), "serving_spec.local_process.memory_limit", "such as 512m"),
        (_with(local_process={"env": {"A=B": "1"}}), "serving_spec.local_process.env", "no name of an environment"),
        (_with(local_process={"env": {"A": 1}}), "serving_spec.local_process.env.A", "a string, not a number"),
        (_with(model_name="a/b"), "serving_spec.model_name", "a/b"),
        (_with(model_name="a..b"), "serving_spec.model_name", "a..b"),
        (_with(model_name=" "), "serving_spec.model_name", "letters"),
        (_with(model_name="🐍"), "serving_spec.model_name", "letters"),
        (_with(model_name=""), "serving_spec.model_name", "letters"),
        (_with(model_name="a", modelName="b"), "serving_spec.modelName", "given twice"),
        ([], "serving_spec", "not a list"),
        ("{", "serving_spec", "neither JSON nor YAML"),
        ("/does/not/exist.json", "serving_spec", "No such file"),
        ("", "serving_spec", "exactly one"),
        ('{"a":' * 100_000, "serving_spec", "nested too deeply"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_wrong_serving_spec_names_the_field(given: Any, field: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        ServingSpec.of(given)
    assert caught.value.field.startswith(field)
    assert words in str(caught.value)
    assert caught.value.next_step


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "x", [], True, None])
def test_limits_are_numbers_above_zero(value: Any) -> None:
    given = {"max_loading_time_seconds": value}
    if value is None:
        assert ValidationSpec.of(given).max_loading_time_seconds == 300
        return
    with pytest.raises(SpecError, match=r"validation_spec\.max_loading_time_seconds"):
        ValidationSpec.of(given)


@pytest.mark.parametrize(("value", "tries"), [(2, 2), (2.0, 2), ("2", 2)])
def test_kubeflow_hands_integers_over_as_floats(value: Any, tries: int) -> None:
    assert ValidationSpec.of({"num_tries": value}).num_tries == tries


@pytest.mark.parametrize("value", [0, -1, 1.5, 101, "many"])
def test_tries_are_whole_numbers_from_1_to_100(value: Any) -> None:
    with pytest.raises(SpecError, match=r"validation_spec\.num_tries"):
        ValidationSpec.of({"num_tries": value})


def test_on_rejected_knows_its_words() -> None:
    assert ValidationSpec.of({"on_rejected": "RAISE"}).on_rejected is OnRejected.RAISE
    with pytest.raises(SpecError, match=r"validation_spec.on_rejected.*Did you mean 'raise'"):
        ValidationSpec.of({"on_rejected": "rase"})


def test_zero_examples_are_refused() -> None:
    with pytest.raises(SpecError, match=r"request_spec\.num_examples"):
        RequestSpec.of({"num_examples": 0})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"env": {"MODEL_NAME": "other"}}, "serving_spec.local_docker.env.MODEL_NAME"),
        ({"env": {"MODEL_BASE_PATH": "/elsewhere"}}, "serving_spec.local_docker.env.MODEL_BASE_PATH"),
        ({"mounts": [{"source": "/x", "target": "/models/m/2"}]}, "serving_spec.local_docker.mounts[0].target"),
        ({"mounts": [{"source": "/x", "target": "/models/"}]}, "serving_spec.local_docker.mounts[0].target"),
    ],
)
def test_a_container_that_would_serve_another_model_is_a_spec_error(change: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "local_docker": change, "model_name": "m"})
    assert caught.value.field == field


IMAGES = {
    "tensorflow/serving": "",
    "serving": "",
    "localhost/serving": "",
    "localhost:5000/a/b_c/d__e/f--g.h": "",
    "127.0.0.1:5000/a": "",
    "[::1]:5000/a": "",
    "Registry.example.com/a/b": "",
    "REGISTRY/a": "",
    "registry.example.com:5000/a": "",
    "Serving": "is no image name",
    "registry.example.com/A": "is no image name",
    "a//b": "is no image name",
    "-a": "is no image name",
    "a b": "is no image name",
    "tensorflow/serving:2.19.0": "already has a tag: 'tensorflow/serving:2.19.0'. Write '2.19.0' into tags",
    "localhost:5000/a:1": "already has a tag",
    f"a@sha256:{'0' * 64}": "already has a digest",
}


@pytest.mark.parametrize(("name", "words"), IMAGES.items())
def test_image_names_are_those_of_docker(name: str, words: str) -> None:
    given = {"tensorflow_serving": {"image_name": name, "tags": ["1"]}, "local_docker": {}}
    if not words:
        assert ServingSpec.of(given).tensorflow_serving == TensorFlowServingConfig(image_name=name, tags=("1",))
        return
    with pytest.raises(SpecError, match=r"serving_spec\.tensorflow_serving\.image_name") as caught:
        ServingSpec.of(given)
    assert words in str(caught.value)


def test_zero_is_unset_in_the_json_of_a_proto() -> None:
    written_out = {
        "tensorflowServing": {"imageName": "", "tags": ["1"], "digests": []},
        "localDocker": {"clientBaseUrl": "", "clientApiVersion": "", "clientTimeoutSeconds": 0, "hostIpAddress": ""},
        "modelName": "",
    }
    assert ServingSpec.of(json.dumps(written_out)) == ServingSpec.of(
        {"tensorflow_serving": {"tags": ["1"]}, "local_docker": {}}
    )
    in_a_pod = {"tensorflow_serving": {"tags": ["1"]}, "kubernetes": {"active_deadline_seconds": 0}}
    assert ServingSpec.of(json.dumps(in_a_pod)).to_dict() == {**in_a_pod, "kubernetes": {}}
    assert ValidationSpec.of('{"maxLoadingTimeSeconds": 0, "numTries": 0}') == ValidationSpec()
    assert RequestSpec.of('{"splitName": "", "numExamples": 0, "makeWarmup": false}') == RequestSpec()
    with pytest.raises(SpecError, match="num_tries"):
        ValidationSpec.of('{"num_tries": -1}')
    with pytest.raises(SpecError, match="concurrency"):  # no field of TFX's
        RequestSpec.of('{"concurrency": 0}')


@pytest.mark.parametrize("field", ["tensorflow_serving", "local_process"])
def test_arguments_that_collide_are_told_without_a_model(field: str) -> None:
    given: dict[str, Any] = {"tensorflow_serving": {}, "local_process": {}}
    given[field] = {"extra_args": ["--enable_batching", "--port=1"]}
    with pytest.raises(SpecError, match=rf"{field}\.extra_args\[1\].*collides with what the validator sets itself"):
        ServingSpec.of(given)


def test_specs_that_contradict_each_other_are_told() -> None:
    pod = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "kubernetes": {"active_deadline_seconds": 200}})
    check_agreement(pod, ValidationSpec(max_loading_time_seconds=199), RequestSpec())
    check_agreement(pod, None, None)
    with pytest.raises(SpecError, match=r"kubernetes\.active_deadline_seconds.* must exceed .*\(200\), not be 200"):
        check_agreement(pod, ValidationSpec(max_loading_time_seconds=200), None)
    runtime = ServingSpec.of({"model_runtime": {}, "local_process": {}})
    check_agreement(runtime, None, RequestSpec(protocols=("grpc",)))
    with pytest.raises(SpecError, match=r"request_spec\.protocols"):
        check_agreement(runtime, None, RequestSpec(protocols=("rest",)))


@pytest.mark.parametrize(
    ("validation", "request_spec", "given", "field"),
    [
        (None, RequestSpec(make_warmup=True), False, "request_spec.make_warmup"),
        (None, RequestSpec(make_warmup=True), True, ""),
        (None, RequestSpec(), False, ""),
        (ValidationSpec(require_requests=True), None, True, "validation_spec.require_requests"),
        (ValidationSpec(require_requests=True), RequestSpec(), False, "validation_spec.require_requests"),
        (ValidationSpec(require_requests=True), RequestSpec(), True, ""),
        (ValidationSpec(require_requests=True), RequestSpec(generate=GenerateSpec()), False, ""),
    ],
)
def test_what_needs_examples_says_so(
    validation: ValidationSpec | None, request_spec: RequestSpec | None, given: bool, field: str
) -> None:
    if not field:
        check_examples(validation, request_spec, given=given)
        return
    with pytest.raises(SpecError) as caught:
        check_examples(validation, request_spec, given=given)
    assert caught.value.field == field
