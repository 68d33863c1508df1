"""Contract 3.3 and 3.4: Predict over gRPC. Row numbers are those of the table in 3.3."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from component_tests.contract.tensorflow_serving.requests import (
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    NOT_FOUND,
    PREDICTION,
    UNIMPLEMENTED,
    example,
    fails,
    predict_request,
    spec,
    strings,
    tensor,
)
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess, embedded_server
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

TensorProto: Any = tensorflow_pb2.TensorProto  # dtypes as plain numbers
TensorShapeProto = tensorflow_pb2.TensorShapeProto
X = tensor([1.0, 2.0, 5.0])
MATRIX = tensor([1.0, 2.0, 3.0, 4.0], [2, 2])


def test_3_3_response_has_typed_values_and_the_effective_model_spec(server: EmbeddedServerProcess) -> None:
    response = server.predict(predict_request(spec("half_plus_two"), x=X))
    assert response.outputs["y"] == tensor([2.5, 3.0, 4.5])
    assert response.model_spec == spec("half_plus_two", "serving_default", 1)


def test_3_3_row_1_no_model_spec(server: EmbeddedServerProcess) -> None:
    with fails(INVALID_ARGUMENT, "Missing ModelSpec"):
        server.predict(predict_request(None, x=X))


def test_3_3_row_2_empty_name_is_checked_before_version_and_label(server: EmbeddedServerProcess) -> None:
    for model in (spec(""), spec("", version=7), spec("", label="stable")):
        with fails(INVALID_ARGUMENT, "ModelSpec has no name specified."):
            server.predict(predict_request(model, x=X))


@pytest.mark.parametrize("model", ["half_plus_two", "nobody"])
def test_3_3_row_3_unknown_label_whether_or_not_the_model_is_known(server: EmbeddedServerProcess, model: str) -> None:
    with fails(INVALID_ARGUMENT, "Unrecognized servable version label: stable"):
        server.predict(predict_request(spec(model, label="stable"), x=X))


def test_3_3_row_4_unknown_model(server: EmbeddedServerProcess) -> None:
    with fails(NOT_FOUND, "Servable not found for request: Latest(nobody)"):
        server.predict(predict_request(spec("nobody"), x=X))


@pytest.mark.parametrize("version", [0, 2, -1, 2**62])
def test_3_3_row_5_unknown_version(server: EmbeddedServerProcess, version: int) -> None:
    with fails(NOT_FOUND, f"Servable not found for request: Specific(half_plus_two, {version})"):
        server.predict(predict_request(spec("half_plus_two", version=version), x=X))


def test_3_3_row_6_unknown_signature(server: EmbeddedServerProcess) -> None:
    with fails(FAILED_PRECONDITION, 'Serving signature key "no_such" not found.'):
        server.predict(predict_request(spec("half_plus_two", "no_such"), x=X))
    with fails(FAILED_PRECONDITION, 'Serving signature key "serving_default" not found.'):
        server.predict(predict_request(spec("odd_signatures"), x=X))


def test_3_3_row_7_method_name_is_checked_with_the_flag_only(
    server: EmbeddedServerProcess, saved_models: SavedModels
) -> None:
    request = predict_request(spec("odd_signatures", "unsupported_method"), inputs=strings(b""))
    assert server.predict(request).outputs["scores"].float_val == [1.0, 1.0]
    flags = [f"--model_base_path={saved_models.base_path('odd_signatures')}", "--model_name=odd_signatures"]
    text = (
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict, "
        "tensorflow/serving/classify, tensorflow/serving/regress}. Was: tensorflow/serving/unheard_of"
    )
    with embedded_server(*flags, "--enable_signature_method_name_check") as strict:
        with fails(grpc.StatusCode.INTERNAL, text):
            strict.predict(request)


def test_3_3_row_8_too_few_inputs(server: EmbeddedServerProcess) -> None:
    text = (
        "input size does not match signature: 1!=2 len({b}) != len({a,b}). Sent extra: {}. Missing but required: {a}."
    )
    with fails(INVALID_ARGUMENT, text):
        server.predict(predict_request(spec("two_inputs"), b=MATRIX))


def test_3_3_row_8_too_many_inputs(server: EmbeddedServerProcess) -> None:
    text = (
        "input size does not match signature: 3!=2 len({a,b,c}) != len({a,b}). "
        "Sent extra: {c}. Missing but required: {}."
    )
    with fails(INVALID_ARGUMENT, text):
        server.predict(predict_request(spec("two_inputs"), a=MATRIX, b=MATRIX, c=MATRIX))


def test_3_3_row_9_count_fits_but_a_name_is_missing(server: EmbeddedServerProcess) -> None:
    with fails(INVALID_ARGUMENT, "Signature input alias: b(feed name: serving_default_b:0) not found in request", True):
        server.predict(predict_request(spec("two_inputs"), a=MATRIX, c=MATRIX))


def test_3_3_row_10_unusable_tensor(server: EmbeddedServerProcess) -> None:
    with fails(INVALID_ARGUMENT, "tensor parsing error: x"):
        server.predict(predict_request(spec("half_plus_two"), x=tensorflow_pb2.TensorProto()))


def test_3_3_row_11_foreign_name_beside_defaults(server: EmbeddedServerProcess) -> None:
    assert server.predict(predict_request(spec("defaults"))).outputs["y"] == tensor([6.0])
    assert server.predict(predict_request(spec("defaults"), x=X)).outputs["y"] == tensor([2.5, 3.0, 4.5])
    with fails(INVALID_ARGUMENT, "Inputs contains invalid name. Used request inputs: , request input: z"):
        server.predict(predict_request(spec("defaults"), z=X))


def test_3_3_output_filter_gives_what_it_names(server: EmbeddedServerProcess) -> None:
    response = server.predict(predict_request(spec("two_inputs"), ["product", "sum"], a=MATRIX, b=MATRIX))
    assert dict(response.outputs) == {
        "sum": tensor([2.0, 4.0, 6.0, 8.0], [2, 2]),
        "product": tensor([1.0, 4.0, 9.0, 16.0], [2, 2]),
    }


def test_3_3_row_12_unknown_output(server: EmbeddedServerProcess) -> None:
    text = "output tensor alias not found in signature: z Outputs expected to be in the set {names_bytes,product,sum}."
    with fails(INVALID_ARGUMENT, text):
        server.predict(predict_request(spec("two_inputs"), ["sum", "z"], a=MATRIX, b=MATRIX))


def test_3_3_row_13_repeated_output(server: EmbeddedServerProcess) -> None:
    with fails(INVALID_ARGUMENT, "duplicate output tensor alias: sum"):
        server.predict(predict_request(spec("two_inputs"), ["sum", "sum"], a=MATRIX, b=MATRIX))


def test_3_3_row_14_wrong_dtype_is_tensorflows_to_refuse(server: EmbeddedServerProcess) -> None:
    with fails(INVALID_ARGUMENT, "Expects arg[0] to be float but string is provided"):
        server.predict(predict_request(spec("half_plus_two"), x=strings(b"1")))
    with fails(INVALID_ARGUMENT, "Expects arg[1] to be float but int32 is provided"):
        wrong = tensor([1], dtype="DT_INT32", field="int_val")
        server.predict(predict_request(spec("two_inputs"), a=MATRIX, b=wrong))


def test_3_3_row_15_wrong_shape_is_the_ops_to_refuse(server: EmbeddedServerProcess) -> None:
    text = "Matrix size-incompatible: In[0]: [1,3], In[1]: [2,2]\n\t [[{{"
    with fails(INVALID_ARGUMENT, text, starts=True):
        server.predict(predict_request(spec("two_inputs", "matmul"), a=tensor([1.0, 2.0, 3.0], [1, 3]), b=MATRIX))
    # The signature says [None]; nobody enforces it.
    assert server.predict(predict_request(spec("half_plus_two"), x=MATRIX)).outputs["y"].tensor_shape.dim[1].size == 2
    assert server.predict(predict_request(spec("half_plus_two"), x=tensor([]))).outputs["y"] == tensor([])


def test_3_3_row_16_deadline_ends_the_run(server: EmbeddedServerProcess) -> None:
    request = predict_request(spec("slow"), seconds=tensor([20.0], []))
    with pytest.raises(grpc.RpcError) as caught:
        server.predict(request, timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.predict(predict_request(spec("half_plus_two"), x=X)).outputs["y"] == tensor([2.5, 3.0, 4.5])


def test_a_request_that_is_slow_after_quick_ones_holds_up_nobody(server: EmbeddedServerProcess) -> None:
    for _ in range(3):  # quick ones: the next run is carried out by the request's own thread
        server.predict(predict_request(spec("slow"), seconds=tensor([0.0], [])))
    with pytest.raises(grpc.RpcError) as caught:
        server.predict(predict_request(spec("slow"), seconds=tensor([2.0], [])), timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.predict(predict_request(spec("half_plus_two"), x=X)).outputs["y"] == tensor([2.5, 3.0, 4.5])
    assert list(
        server.predict(predict_request(spec("slow"), seconds=tensor([0.0], []))).outputs["slept"].float_val
    ) == [0.0]


def test_2_5_missing_variables_load_and_fail_each_request(server: EmbeddedServerProcess) -> None:
    with fails(FAILED_PRECONDITION, "Could not find variable", starts=True):
        server.predict(predict_request(spec("missing_variables"), x=X))


def test_2_5_a_signature_tensor_that_is_not_in_the_graph_fails_each_request(server: EmbeddedServerProcess) -> None:
    text = "Tensor no_such_tensor:0, specified in either feed_devices or fetch_devices was not found in the Graph"
    with fails(INVALID_ARGUMENT, text):
        server.predict(predict_request(spec("missing_tensor"), x=X))


@pytest.mark.parametrize("model", ["half_plus_two_tf2", "half_plus_two_pbtxt"])
def test_2_5_both_formats_and_both_generations_of_saved_models(server: EmbeddedServerProcess, model: str) -> None:
    assert server.predict(predict_request(spec(model), x=X)).outputs["y"] == tensor([2.5, 3.0, 4.5])


def test_2_5_a_model_without_variables(server: EmbeddedServerProcess) -> None:
    assert server.predict(predict_request(spec("no_variables"), x=X)).outputs["double"] == tensor([2.0, 4.0, 10.0])


def test_2_5_assets_and_hash_tables(server: EmbeddedServerProcess) -> None:
    response = server.predict(predict_request(spec("vocabulary"), text=strings(b"cherry", b"nothing", b"\xff\x00")))
    assert response.outputs["id"].int64_val == [2, -1, -1]
    assert response.outputs["upper"].string_val == [b"CHERRY", b"NOTHING", b"\xff\x00"]


def test_9_serialized_examples_as_a_string_tensor(server: EmbeddedServerProcess) -> None:
    serialized = strings(example(x=4.0).SerializeToString())
    response = server.predict(predict_request(spec("examples"), examples=serialized))
    assert response.outputs["y"] == tensor([4.0], [1, 1])


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (tensor([3.0], [2, 2]), [3.0] * 4),  # the last value repeats
        (tensor([1.0, 2.0], [3]), [1.0, 2.0, 2.0]),
        (tensor([], [2]), [0.0, 0.0]),  # no values: zeros
        (tensor([1.0, 2.0, 3.0], [2]), [1.0, 2.0]),  # surplus is ignored
        (tensor([7], [2], field="int_val"), [0.0, 0.0]),  # the wrong field counts as none
        (TensorProto(dtype=1, float_val=[5.0]), [5.0]),  # no shape: a scalar
        (TensorProto(dtype=1, float_val=[5.0], tensor_shape=TensorShapeProto(unknown_rank=True)), [5.0]),
        (TensorProto(dtype=1, tensor_content=b"\0\0\x80?", float_val=[5.0]), [1.0]),  # content wins
    ],
)
def test_3_4_decoding(server: EmbeddedServerProcess, sent: tensorflow_pb2.TensorProto, answered: list[float]) -> None:
    response = server.predict(predict_request(spec("identity"), x=sent))
    assert list(response.outputs["y"].float_val) == answered


@pytest.mark.parametrize(
    "sent",
    [
        tensor([1.0], [-1]),
        tensor([1.0], [2**40, 2**40]),
        tensor([1.0], [2**31]),  # 8 GiB declared, 4 bytes sent
        tensor([], [2**62, 4]),
        tensor([1.0], [1] * 255),
        TensorProto(dtype=1, tensor_content=b"\0\0\0"),
        TensorProto(dtype=99, float_val=[1.0]),
    ],
    ids=["negative", "overflow", "8 GiB", "overflow without values", "rank 255", "content too short", "unknown dtype"],
)
def test_3_4_refused(server: EmbeddedServerProcess, sent: tensorflow_pb2.TensorProto) -> None:
    with fails(INVALID_ARGUMENT, "tensor parsing error: x"):
        server.predict(predict_request(spec("identity"), x=sent))


def test_3_8_long_texts_are_cut(server: EmbeddedServerProcess) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.predict(predict_request(spec("n" * 5000), x=X))
    details = caught.value.details() or ""
    assert len(details) == 1024 + len("...TRUNCATED")
    assert details.endswith("n...TRUNCATED")


def test_3_8_a_64_mib_tensor_goes_through(server: EmbeddedServerProcess) -> None:
    content = bytes(range(1, 65)) * 2**20  # never a NaN
    sent = TensorProto(dtype=1, tensor_content=content)
    sent.tensor_shape.dim.add(size=len(content) // 4)
    answer = server.call(PREDICTION + "Predict", predict_request(spec("identity"), x=sent))
    assert content in answer


@pytest.mark.parametrize(
    "path",
    [
        "/tensorflow.serving.SessionService/SessionRun",
        PREDICTION + "NoSuchMethod",
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_3_1_methods_that_are_not_served(server: EmbeddedServerProcess, path: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.call(path, b"")
    assert caught.value.code() is UNIMPLEMENTED


def test_1_2_enable_serialization_as_tensor_content(saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('identity')}", "--model_name=m"]
    with embedded_server(*flags, "--enable_serialization_as_tensor_content") as other:
        floats = other.predict(predict_request(spec("m"), x=tensor([1.0]))).outputs["y"]
        assert (floats.tensor_content, list(floats.float_val)) == (b"\0\0\x80?", [])
        texts = other.predict(predict_request(spec("m", "string"), x=strings(b"ab", b""))).outputs["y"]
        assert (texts.tensor_content, list(texts.string_val)) == (b"\x02\x00ab", [])


def test_1_2_unknown_fields_of_newer_clients_are_ignored(server: EmbeddedServerProcess) -> None:
    request = predict_request(spec("half_plus_two"), x=X).SerializeToString()
    streamed_options, client_id = b"\x2a\x02\x08\x01", b"\x32\x03abc"
    answer = server.call(PREDICTION + "Predict", request + streamed_options + client_id, serving_pb2.PredictResponse)
    assert answer.outputs["y"] == tensor([2.5, 3.0, 4.5])
