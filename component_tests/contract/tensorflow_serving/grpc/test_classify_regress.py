"""Contract 3.5, 3.6, 9: Classify, Regress and MultiInference over gRPC."""

from __future__ import annotations

import pathlib

import grpc
import pytest

from component_tests.contract.tensorflow_serving.requests import (
    INVALID_ARGUMENT,
    NOT_FOUND,
    PREDICTION,
    UNIMPLEMENTED,
    classify,
    example,
    examples_input,
    fails,
    regress,
    spec,
)
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess, embedded_server
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

TWO = examples_input(2.0, 4.0)


def rows(response: serving_pb2.ClassificationResponse) -> list[list[tuple[str, float]]]:
    return [[(c.label, c.score) for c in row.classes] for row in response.result.classifications]


def test_3_5_classify_with_scores_only(server: EmbeddedServerProcess) -> None:
    response = classify(server, spec("half_plus_two", "classify_x_to_y"), TWO)
    assert rows(response) == [[("", 3.0)], [("", 4.0)]]
    assert response.model_spec == spec("half_plus_two", "classify_x_to_y", 1)


def test_3_5_classify_with_classes_and_scores(server: EmbeddedServerProcess) -> None:
    response = classify(server, spec("half_plus_two", "classify_labels"), TWO)
    assert rows(response) == [[("2.000000", 3.0), ("other", 4.0)], [("4.000000", 4.0), ("other", 5.0)]]


def test_3_5_classify_with_classes_only(server: EmbeddedServerProcess) -> None:
    response = classify(server, spec("half_plus_two", "classify_classes_only"), examples_input(2.0))
    assert rows(response) == [[("2.000000", 0.0), ("other", 0.0)]]


def test_3_5_regress(server: EmbeddedServerProcess) -> None:
    response = regress(server, spec("half_plus_two", "regress_x_to_y"), TWO)
    assert [regression.value for regression in response.result.regressions] == [3.0, 4.0]
    assert response.model_spec == spec("half_plus_two", "regress_x_to_y", 1)
    one_dimension = regress(server, spec("odd_signatures", "regress_rank_1"), TWO)
    assert [regression.value for regression in one_dimension.result.regressions] == [1.0, 1.0]


def test_3_5_signatures_fit_by_structure_whatever_their_method(server: EmbeddedServerProcess) -> None:
    response = classify(server, spec("odd_signatures", "unsupported_method"), TWO)
    assert rows(response) == [[("", 1.0), ("", 1.0)]] * 2


def test_3_5_method_name_is_checked_with_the_flag(saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('half_plus_two')}", "--model_name=m"]
    with embedded_server(*flags, "--enable_signature_method_name_check") as strict:
        assert rows(classify(strict, spec("m", "classify_x_to_y"), TWO)) == [[("", 3.0)], [("", 4.0)]]
        expected = "Expected {} signature method_name to be tensorflow/serving/{}. Was: tensorflow/serving/{}"
        with fails(INVALID_ARGUMENT, expected.format("classification", "classify", "regress")):
            classify(strict, spec("m", "regress_x_to_y"), TWO)
        with fails(INVALID_ARGUMENT, expected.format("regression", "regress", "classify")):
            regress(strict, spec("m", "classify_x_to_y"), TWO)


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        ("no_such", "No signature was found with the name: no_such"),
        ("", "No signature was found with the name: serving_default"),
        ("two_inputs", "Expected one input Tensor."),
        ("no_inputs", "Expected one input Tensor."),
        ("three_outputs", "Expected one or two output Tensors, found 3"),
        ("other_input_key", "No classification inputs found in SignatureDef: "),
        (
            "other_output_key",
            'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: ',
        ),
        ("float_input", "Expects arg[0] to be float but string is provided"),
        ("scores_rank_1", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        ("scores_rank_3", "Expected Tensor shape: [batch_size num_classes] but got [2,2,1]"),
        ("scores_int64", "Expected scores Tensor of DT_FLOAT. Got: DT_INT64"),
        ("classes_float", "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
        ("scores_longer", "Expected scores output batch size of 2. Got: 3"),
        ("classes_and_wide_scores", "Tensors class and score should match in dim_size(1). Got 2 vs. 3"),
    ],
)
def test_3_5_classify_refuses(server: EmbeddedServerProcess, signature: str, text: str) -> None:
    with fails(INVALID_ARGUMENT, text, starts=text.endswith(": ")):
        classify(server, spec("odd_signatures", signature), TWO)


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        ("no_such", "No signature was found with the name: no_such"),
        ("two_inputs", "Expected one input Tensor."),
        ("three_outputs", "Expected one output Tensor."),
        ("other_input_key_one_output", "No regression inputs found in SignatureDef: "),
        ("other_output_key", "No regression outputs found in SignatureDef: "),
        ("regress_rank_2", "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]"),
        ("regress_int64", "Expected output Tensor of DT_FLOAT.  Got: DT_INT64"),
        ("regress_longer", "Input batch size did not match output batch size: 2 vs. 3"),
    ],
)
def test_3_5_regress_refuses(server: EmbeddedServerProcess, signature: str, text: str) -> None:
    with fails(INVALID_ARGUMENT, text, starts=text.endswith(": ")):
        regress(server, spec("odd_signatures", signature), TWO)


def test_3_5_order_model_before_signature_before_input(server: EmbeddedServerProcess) -> None:
    with fails(INVALID_ARGUMENT, "Missing ModelSpec"):
        classify(server, None, TWO)
    with fails(NOT_FOUND, "Servable not found for request: Latest(nobody)"):
        classify(server, spec("nobody", "no_such"), None)
    with fails(INVALID_ARGUMENT, "No signature was found with the name: no_such"):
        regress(server, spec("half_plus_two", "no_such"), None)


@pytest.mark.parametrize(
    "value",
    [
        None,
        serving_pb2.Input(),
        serving_pb2.Input(example_list=serving_pb2.ExampleList()),
        serving_pb2.Input(example_list_with_context=serving_pb2.ExampleListWithContext(context=example(x=1.0))),
    ],
    ids=["no input", "unset", "empty list", "context only"],
)
def test_9_input_is_empty(server: EmbeddedServerProcess, value: serving_pb2.Input | None) -> None:
    with fails(INVALID_ARGUMENT, "Input is empty."):
        classify(server, spec("half_plus_two", "classify_x_to_y"), value)
    with fails(INVALID_ARGUMENT, "Input is empty."):
        regress(server, spec("half_plus_two", "regress_x_to_y"), value)


def test_9_context_is_merged_and_the_example_wins(server: EmbeddedServerProcess) -> None:
    with_context = serving_pb2.ExampleListWithContext(context=example(x=8.0), examples=[example(x=2.0), example(z=1.0)])
    value = serving_pb2.Input(example_list_with_context=with_context)
    response = regress(server, spec("half_plus_two", "regress_x_to_y"), value)
    assert [regression.value for regression in response.result.regressions] == [3.0, 6.0]


def test_9_examples_are_the_graphs_to_refuse(server: EmbeddedServerProcess) -> None:
    value = serving_pb2.Input(example_list=serving_pb2.ExampleList(examples=[example(z=1.0)]))
    text = "Name: <unknown>, Feature: x (data type: float) is required but could not be found.\n\t [[{{"
    with fails(INVALID_ARGUMENT, text, starts=True):
        regress(server, spec("half_plus_two", "regress_x_to_y"), value)


# --------------------------------------------------------------------------------------------------- multi-inference


def multi_inference(
    server: EmbeddedServerProcess, *tasks: serving_pb2.ModelSpec, value: serving_pb2.Input | None = TWO
) -> serving_pb2.MultiInferenceResponse:
    """Each task's method as its signature's name begins: classify, else regress."""
    methods = ["classify" if task.signature_name.startswith("classify") else "regress" for task in tasks]
    request = serving_pb2.MultiInferenceRequest(input=value)
    for task, method in zip(tasks, methods, strict=True):
        request.tasks.add(model_spec=task, method_name=f"tensorflow/serving/{method}")
    answer: serving_pb2.MultiInferenceResponse = server.call(
        PREDICTION + "MultiInference", request, serving_pb2.MultiInferenceResponse
    )
    return answer


def test_3_6_results_in_the_order_of_the_tasks(server: EmbeddedServerProcess) -> None:
    response = multi_inference(
        server, spec("half_plus_two", "regress_x_to_y2"), spec("half_plus_two", "classify_x_to_y")
    )
    first, second = response.results
    assert [r.value for r in first.regression_result.regressions] == [4.0, 5.0]
    assert [row.classes[0].score for row in second.classification_result.classifications] == [3.0, 4.0]
    assert first.model_spec == spec("half_plus_two", "regress_x_to_y2", 1)
    assert second.model_spec == spec("half_plus_two", "classify_x_to_y", 1)


@pytest.mark.parametrize(
    ("tasks", "code", "text"),
    [
        ([], INVALID_ARGUMENT, "ModelSpec has no name specified."),
        ([spec("nobody")], NOT_FOUND, "Servable not found for request: Latest(nobody)"),
        (
            [spec("half_plus_two", "regress_x_to_y"), spec("")],
            INVALID_ARGUMENT,
            "Found ModelSpec with an empty model name.",
        ),
        (
            [spec("half_plus_two", "regress_x_to_y"), spec("matmul", "regress_x_to_y2")],
            INVALID_ARGUMENT,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            [spec("half_plus_two", "regress_x_to_y")] * 2,
            INVALID_ARGUMENT,
            "Duplicate evaluation of signature: regress_x_to_y",
        ),
        ([spec("half_plus_two", "no")], INVALID_ARGUMENT, "Requested signature not found in model graph: no"),
        ([spec("half_plus_two")], INVALID_ARGUMENT, "No regression inputs found in SignatureDef: "),
    ],
)
def test_3_6_refused(
    server: EmbeddedServerProcess, tasks: list[serving_pb2.ModelSpec], code: grpc.StatusCode, text: str
) -> None:
    with fails(code, text, starts=text.endswith(": ")):
        multi_inference(server, *tasks)


@pytest.mark.parametrize("method", ["", "tensorflow/serving/predict", "regress"])
@pytest.mark.parametrize("signature", ["regress_x_to_y", "serving_default"])
def test_3_6_the_tasks_method_must_be_classify_or_regress(
    server: EmbeddedServerProcess, method: str, signature: str
) -> None:
    task = serving_pb2.InferenceTask(model_spec=spec("half_plus_two", signature), method_name=method)
    request = serving_pb2.MultiInferenceRequest(tasks=[task], input=TWO)
    with fails(UNIMPLEMENTED, f"Unsupported signature method_name: {method}"):
        server.call(PREDICTION + "MultiInference", request, serving_pb2.MultiInferenceResponse)


@pytest.mark.parametrize("own_name", ["tensorflow/serving/predict", "tensorflow/serving/classify", ""])
def test_3_6_the_signatures_own_method_is_not_looked_at(
    saved_models: SavedModels, tmp_path: pathlib.Path, own_name: str
) -> None:
    """As in TF2 exports, all of whose signatures predict."""
    path = saved_models.copy("half_plus_two", tmp_path / "m") / "saved_model.pb"
    model = tensorflow_pb2.SavedModel.FromString(path.read_bytes())
    for name in ("regress_x_to_y", "classify_x_to_y"):
        model.meta_graphs[0].signature_def[name].method_name = own_name
    path.write_bytes(model.SerializeToString())
    with embedded_server(f"--model_base_path={tmp_path / 'm'}") as server:
        response = multi_inference(server, spec("default", "classify_x_to_y"), spec("default", "regress_x_to_y"))
    first, second = response.results
    assert [row.classes[0].score for row in first.classification_result.classifications] == [3.0, 4.0]
    assert [r.value for r in second.regression_result.regressions] == [3.0, 4.0]


def test_3_6_input_is_looked_at_last(server: EmbeddedServerProcess) -> None:
    with fails(INVALID_ARGUMENT, "Input is empty."):
        multi_inference(server, spec("half_plus_two", "regress_x_to_y"), value=None)
