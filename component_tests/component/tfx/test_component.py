"""The component as pipelines see it: TFX's own constructor, JSON texts as execution properties, specs checked at once."""

from __future__ import annotations

import inspect
import json
import pathlib
from typing import Any

import pytest

from infra_validator.core.errors import SpecError
from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec

pytestmark = pytest.mark.tfx

SERVING_SPEC = {"tensorflow_serving": {"tags": ["2.19.0"]}, "local_docker": {"client_timeout_seconds": 7}}


def channels() -> dict[str, Any]:
    from tfx import types
    from tfx.types import standard_artifacts

    return {
        "model": types.Channel(type=standard_artifacts.Model),
        "examples": types.Channel(type=standard_artifacts.Examples),
    }


def component(**given: Any) -> Any:
    from infra_validator.component import InfraValidator

    return InfraValidator(**{**channels(), "serving_spec": SERVING_SPEC, **given})


def test_the_constructor_takes_what_tfx_takes() -> None:
    from tfx import v1 as tfx

    from infra_validator.component import InfraValidator

    theirs = inspect.signature(tfx.components.InfraValidator.__init__).parameters
    ours = inspect.signature(InfraValidator.__init__).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    assert [p.default for p in ours.values()][: len(theirs)] == [p.default for p in theirs.values()]
    assert list(ours)[len(theirs) :] == ["baseline_model"]  # what is ours alone comes last


def test_it_is_no_subclass_of_tfx_which_kubeflow_would_refuse() -> None:
    from tfx import v1 as tfx

    assert not isinstance(component(), tfx.components.InfraValidator)


@pytest.mark.parametrize("form", ["proto", "snake case JSON", "camel case JSON", "dict", "spec"])
def test_every_form_of_a_spec_becomes_the_same_property(form: str) -> None:
    from google.protobuf import json_format
    from tfx import v1 as tfx

    proto = tfx.proto.ServingSpec(
        tensorflow_serving=tfx.proto.TensorFlowServing(tags=["2.19.0"]),
        local_docker=tfx.proto.LocalDockerConfig(client_timeout_seconds=7),
    )
    given = {
        "proto": proto,
        "snake case JSON": json_format.MessageToJson(proto, preserving_proto_field_name=True),
        "camel case JSON": json_format.MessageToJson(proto),
        "dict": SERVING_SPEC,
        "spec": ServingSpec.of(SERVING_SPEC),
    }[form]
    assert json.loads(component(serving_spec=given).exec_properties["serving_spec"]) == SERVING_SPEC


def test_the_other_protos_are_read_too() -> None:
    from tfx import v1 as tfx

    made = component(
        validation_spec=tfx.proto.ValidationSpec(max_loading_time_seconds=9, num_tries=2),
        request_spec=tfx.proto.RequestSpec(
            tensorflow_serving=tfx.proto.TensorFlowServingRequestSpec(signature_names=["a"]), num_examples=3
        ),
    )
    limits = ValidationSpec.of(made.exec_properties["validation_spec"])
    assert (limits.max_loading_time_seconds, limits.num_tries) == (9, 2)
    asked = RequestSpec.of(made.exec_properties["request_spec"])
    assert (asked.signature_names, asked.num_examples) == (("a",), 3)


def test_an_empty_request_spec_asks_with_the_defaults() -> None:
    from tfx import v1 as tfx

    assert component(request_spec=tfx.proto.RequestSpec()).exec_properties["request_spec"] == "{}"
    assert component().exec_properties.get("request_spec") is None


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"serving_spec": {"tensorflow_serving": {}, "local_docker": {}}}, "tags"),
        ({"serving_spec": {"tensorflow_serving": {"tags": ["a"]}}}, "serving_spec"),
        ({"serving_spec": {"tensorflow_servin": {}, "local_process": {}}}, "tensorflow_serving"),
        ({"validation_spec": {"num_tries": 0}}, "validation_spec.num_tries"),
        ({"request_spec": {"num_examples": -1}}, "request_spec.num_examples"),
        ({"request_spec": {"make_warmup": True}, "examples": None}, "request_spec.make_warmup"),
        ({"validation_spec": {"require_requests": True}}, "validation_spec.require_requests"),
        (
            {"serving_spec": {"tensorflow_serving": {"image_name": "a:1", "tags": ["2"]}, "local_docker": {}}},
            "image_name",
        ),
        (
            {
                "serving_spec": {"tensorflow_serving": {"tags": ["1"]}, "kubernetes": {"active_deadline_seconds": 60}},
                "validation_spec": {"max_loading_time_seconds": 60},
            },
            "serving_spec.kubernetes.active_deadline_seconds",
        ),
        (
            {"serving_spec": {"tensorflow_serving": {"extra_args": ["--port=1"]}, "local_process": {}}},
            "serving_spec.tensorflow_serving.extra_args",
        ),
    ],
)
def test_a_wrong_spec_is_told_when_the_pipeline_is_made(given: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError, match=field.replace(".", r"\.")):
        component(**given)


def test_the_execution_type_may_be_that_of_tfx() -> None:
    from tfx import v1 as tfx

    from infra_validator.component import InfraValidator as Ours
    from infra_validator.component_under_tfx_name import InfraValidator

    under_tfx_name = InfraValidator(**channels(), serving_spec=SERVING_SPEC)
    assert under_tfx_name.type == tfx.components.InfraValidator.get_class_type()
    assert (under_tfx_name.id, component().id) == ("InfraValidator", "InfraValidator")
    assert component().type == "infra_validator.component.InfraValidator"
    assert isinstance(under_tfx_name, Ours)
    theirs = tfx.components.InfraValidator.SPEC_CLASS  # one type in ML Metadata takes properties of one set of types
    assert {name: parameter.type for name, parameter in Ours.SPEC_CLASS.PARAMETERS.items()} == dict.fromkeys(
        theirs.PARAMETERS, str
    )


def test_a_proto_of_the_wrong_type_is_told() -> None:
    from tfx import v1 as tfx

    for name in ("serving_spec", "validation_spec"):
        with pytest.raises(SpecError, match=f"{name}: must be a .*, not a message of the type .*RequestSpec"):
            component(**{name: tfx.proto.RequestSpec()})
    with pytest.raises(
        SpecError, match=r"request_spec: must be a RequestSpec, not a message of the type .*ValidationSpec"
    ):
        component(request_spec=tfx.proto.ValidationSpec())


def test_the_json_of_a_proto_means_what_the_proto_means() -> None:
    from google.protobuf import json_format
    from tfx import v1 as tfx

    proto = tfx.proto.ValidationSpec(num_tries=0)
    fields = {name: getattr(proto, name) for name in ("max_loading_time_seconds", "num_tries")}
    assert fields == {"max_loading_time_seconds": 0, "num_tries": 0}
    for form in (proto, json_format.MessageToJson(proto), json.dumps(fields)):
        assert component(validation_spec=form).exec_properties["validation_spec"] == "{}"


@pytest.mark.parametrize("launcher", ["portable", "legacy"])
def test_a_warm_up_without_examples_is_told_by_the_driver_where_the_spec_is_a_runtime_parameter(launcher: str) -> None:
    from tfx import types
    from tfx.orchestration.data_types import RuntimeParameter
    from tfx.orchestration.portable.data_types import ExecutionInfo
    from tfx.types import standard_artifacts

    from infra_validator.driver import Driver

    component(request_spec=RuntimeParameter(name="asked", ptype=str), examples=None)
    given = {"serving_spec": json.dumps(SERVING_SPEC), "request_spec": '{"make_warmup": true}'}
    model = types.Channel(type=standard_artifacts.Model)
    driver = Driver(None)
    calls = {
        "portable": lambda: driver.run(ExecutionInfo(exec_properties=given, input_dict={"model": [model]})),
        "legacy": lambda: driver.pre_execution({"model": model}, {}, given, None, None, None),
    }
    with pytest.raises(SpecError, match=r"request_spec\.make_warmup"):
        calls[launcher]()


def test_runtime_parameters_are_left_for_the_driver() -> None:
    from tfx.orchestration.data_types import RuntimeParameter

    parameter = RuntimeParameter(name="spec", ptype=str, default=json.dumps(SERVING_SPEC))
    assert component(serving_spec=parameter).exec_properties["serving_spec"] is parameter


def test_the_pipeline_with_one_line_changed_compiles(tmp_path: pathlib.Path) -> None:
    from tfx.dsl.compiler.compiler import Compiler

    from pipelines.local.one_line_change import create_pipeline

    at = str(tmp_path)
    compiled = Compiler().compile(
        create_pipeline("one-line", at, at, "pipelines.local.trainer.run_fn", at, f"{at}/metadata.sqlite")
    )
    node = compiled.nodes[2].pipeline_node
    assert node.node_info.type.name == "infra_validator.component.InfraValidator"
    spec = node.parameters.parameters["serving_spec"].field_value.string_value
    assert json.loads(spec) == {"tensorflow_serving": {"tags": ["latest"]}, "local_docker": {}}


def test_the_driver_checks_specs_for_both_launchers() -> None:
    from tfx.orchestration.portable.data_types import ExecutionInfo

    from infra_validator.driver import Driver

    driver = Driver(None)
    bad = {"serving_spec": '{"tensorflow_serving": {}}'}
    with pytest.raises(SpecError, match="serving platform"):
        driver.run(ExecutionInfo(exec_properties=bad))
    with pytest.raises(SpecError, match="serving platform"):
        driver.resolve_exec_properties(bad, None, None)
    with pytest.raises(SpecError, match=r"validation_spec\.num_tries: must be above 0, not -1"):
        driver.run(
            ExecutionInfo(
                exec_properties={
                    "serving_spec": component().exec_properties["serving_spec"],
                    "validation_spec": '{"num_tries": -1}',
                }
            )
        )


def test_the_driver_leaves_other_properties_alone() -> None:
    from tfx.orchestration.portable.data_types import ExecutionInfo

    from infra_validator.driver import Driver

    given = {"serving_spec": '{"tensorflow_serving": {}, "local_process": {}}', "request_spec": '{"num_examples": 2}'}
    output = Driver(None).run(ExecutionInfo(exec_properties=given))
    assert set(output.exec_properties) == {"serving_spec"}
    assert json.loads(output.exec_properties["serving_spec"].string_value) == json.loads(given["serving_spec"])
    legacy = Driver(None).resolve_exec_properties(given, None, None)
    assert legacy["request_spec"] == given["request_spec"]


def test_the_content_of_a_file_that_a_spec_names_is_in_the_cache_key(tmp_path: pathlib.Path) -> None:
    from tfx.orchestration.portable.data_types import ExecutionInfo

    from infra_validator.driver import Driver

    config = tmp_path / "models.config"
    spec = {"tensorflow_serving": {"model_config_file": str(config)}, "local_process": {}}
    given = {"serving_spec": json.dumps(spec)}
    seen = []
    for text in ("a", "b", "a"):
        config.write_text(text)
        output = Driver(None).run(ExecutionInfo(exec_properties=given))
        seen.append(output.exec_properties["file_digests"].string_value)
        assert Driver(None).resolve_exec_properties(given, None, None)["file_digests"] == seen[-1]
    assert seen[0] == seen[2] != seen[1]
    assert list(json.loads(seen[0])) == ["serving_spec.tensorflow_serving.model_config_file"]
