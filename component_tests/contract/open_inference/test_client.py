"""The Open Inference client against a server that speaks the protocol strictly."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import pytest

from component_tests.fakes.servers.open_inference_server import DATATYPES, Model
from component_tests.fakes.servers.scripted_server import serving
from infra_validator.core.answer import ELEMENT_TYPES, Answer, Tensor, UnreadableAnswer
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import ModelStatus
from infra_validator.model_server_clients.open_inference.client import OpenInferenceClient
from infra_validator.model_server_clients.open_inference.datatypes import BY_NAME
from infra_validator.model_server_clients.open_inference.infer_answer import read_infer_response
from infra_validator.model_server_clients.open_inference.infer_request import MODEL_INFER
from infra_validator.protos import open_inference_pb2 as pb
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.questions import methods

ENOUGH = 30.0

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-32768, 32767],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [0.5, -65504.0],
    "FP32": [1.5, -(2.0**127)],
    "FP64": [1e300, -0.0],
}
RAW = {name: struct.pack(f"<{len(values)}{DATATYPES[name][1]}", *values) for name, values in VALUES.items()}
RAW["BF16"] = b"\x80\x3f\x00\xc0"  # 1 and -2
STRINGS = [b"", b"\x00\xff" * 300]


def tensor(datatype: str) -> Any:
    """Two elements of a datatype as TensorFlow's message."""
    proto = tf.TensorProto(dtype=BY_NAME[datatype].number)  # type: ignore[arg-type]
    proto.tensor_shape.dim.add(size=2)
    if datatype == "BYTES":
        proto.string_val.extend(STRINGS)
    else:
        proto.tensor_content = RAW[datatype]
    return proto


def predict(inputs: Mapping[str, Any], *outputs: str) -> SampleRequest:
    message = serving_pb2.PredictRequest(output_filter=outputs)
    message.model_spec.name = "another"
    for name, proto in inputs.items():
        message.inputs[name].CopyFrom(proto)
    return SampleRequest(methods.PREDICT, "serving_default", message.SerializeToString(), "record 1", 2, outputs)


def asked(model: Model, request: SampleRequest, **client: Any) -> Answer:
    """What the client makes of the server's answer to one request."""
    seen: list[tuple[SampleRequest, bytes]] = []
    with serving(model.handlers()) as (endpoint, _), OpenInferenceClient(endpoint, "m", 7, **client) as talking:
        talking.on_answer = lambda request, payload: seen.append((request, payload))
        assert talking.SendRequests([request], Deadline.after(ENOUGH)) == 1
        ((original, payload),) = seen
        assert original == request  # checks see what was asked, not how it was sent
        (answer,) = talking.ReadAnswer(original, payload) or ()
    return answer


def content(tensor: Tensor) -> Any:
    return list(tensor.strings()) if tensor.dtype == BY_NAME["BYTES"].number else tensor.content.tobytes()


@pytest.mark.parametrize("typed_answer", [False, True], ids=["raw answer", "typed answer"])
@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_goes_there_and_back(datatype: str, typed: bool, typed_answer: bool) -> None:
    model = Model("m", *(["typed"] if typed_answer else []))
    request = predict({"x": tensor(datatype)})
    if typed and not DATATYPES[datatype][2]:
        with pytest.raises(UsageError, match="raw content only") as caught:
            asked(model, request, typed_contents=True)
        assert caught.value.reason is ReasonCode.BAD_REQUESTS
        return
    answer = asked(model, request, typed_contents=typed)
    assert (answer.model, answer.version) == ("m", 1)
    output = answer.outputs["x"]
    assert (output.dtype, output.shape) == (BY_NAME[datatype].number, (2,))
    assert content(output) == (STRINGS if datatype == "BYTES" else RAW[datatype])
    (received,) = model.received
    assert (received.model_name, received.model_version) == ("m", "")
    assert bool(received.raw_input_contents) != typed


def test_all_datatypes_in_one_request_and_some_of_the_outputs() -> None:
    model = Model()
    answer = asked(model, predict({name: tensor(name) for name in DATATYPES}, "FP16", "BYTES"), model_version="1")
    assert sorted(answer.outputs) == ["BYTES", "FP16"]
    (received,) = model.received
    assert received.model_version == "1"
    assert [each.name for each in received.inputs] == sorted(DATATYPES)


@pytest.mark.parametrize("typed", [False, True])
def test_a_scalar_and_a_tensor_without_elements(typed: bool) -> None:
    scalar, empty = tf.TensorProto(dtype=tf.DT_INT64), tf.TensorProto(dtype=tf.DT_FLOAT)
    scalar.int64_val.append(5)
    empty.tensor_shape.dim.add(size=0)
    model = Model("m", *(["typed"] if typed else []))
    answer = asked(model, predict({"s": scalar, "e": empty}), typed_contents=typed)
    assert (answer.outputs["s"].shape, answer.outputs["e"].shape) == ((), (0,))
    assert content(answer.outputs["s"]) == struct.pack("<q", 5)


def test_what_the_protocol_does_not_have_is_a_wrong_request() -> None:
    complex_number = tf.TensorProto(dtype=tf.DT_COMPLEX64, scomplex_val=[1.0, 2.0])
    with pytest.raises(UsageError, match="record 1: the input 'c' is of complex64, which the protocol does not have"):
        asked(Model(), predict({"c": complex_number}))


def test_a_request_in_the_protocols_own_words_is_sent_as_it_is() -> None:
    message = pb.ModelInferRequest(model_name="m", id="42")
    message.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(3.0)
    model = Model()
    answer = asked(model, SampleRequest(MODEL_INFER, "serving_default", message.SerializeToString(), "record 1"))
    assert content(answer.outputs["x"]) == struct.pack("<f", 3.0)
    assert model.received == [message]


# ------------------------------------------------------------------------------------------------- is the model ready


@pytest.mark.parametrize(
    ("modes", "version", "status", "detail"),
    [
        ([], "", ModelStatus.READY, "the model m is ready"),
        ([], "1", ModelStatus.READY, "the model m version 1 is ready"),
        ([], "2", ModelStatus.NOT_READY, "NOT_FOUND: Model m with version 2 not found"),
        (["no_index"], "2", ModelStatus.NOT_READY, "NOT_FOUND: Model m with version 2 not found"),
        (["never_ready"], "", ModelStatus.NOT_READY, "version 1 is LOADING"),
        (["never_ready", "no_index"], "", ModelStatus.NOT_READY, "the model m is not ready"),
        (["fails_to_load"], "", ModelStatus.UNAVAILABLE, "version 1 is UNAVAILABLE (Internal: failed to load model.pt: no such file)"),
        (["fails_to_load", "no_index"], "", ModelStatus.NOT_READY, "the model m is not ready"),
    ],
    ids=lambda value: " ".join(value) or "good" if isinstance(value, list) else None,
)  # fmt: skip
def test_ready_is_the_model_not_the_server(modes: list[str], version: str, status: ModelStatus, detail: str) -> None:
    with serving(Model("m", *modes).handlers()) as (endpoint, _):
        with OpenInferenceClient(endpoint, "m", model_version=version) as client:
            seen = client.GetModelStatus(Deadline.after(ENOUGH))
    assert (seen.status, seen.detail, seen.answered, seen.foreign) == (status, detail, True, False)


def test_a_model_that_is_unknown_while_it_loads_is_waited_for() -> None:
    with serving(Model("m", "unknown_while_loading", "no_index").handlers()) as (endpoint, _):
        with OpenInferenceClient(endpoint, "m") as client:
            client.WaitUntilModelLoaded(Deadline.after(ENOUGH))


def test_an_unknown_model_beside_a_ready_server_is_not_ready() -> None:
    with serving(Model("another_model").handlers()) as (endpoint, _), OpenInferenceClient(endpoint, "m") as client:
        with pytest.raises(AttemptFailed, match="NOT_FOUND: Model m with version  not found") as caught:
            client.WaitUntilModelLoaded(Deadline.after(0.3))
    assert caught.value.reason is ReasonCode.LOAD_TIMEOUT


# ---------------------------------------------------------------------------------------------------------- metadata


def test_metadata_is_one_signature() -> None:
    model = Model("m", inputs={"x": ("FP32", [-1, 4]), "text": ("BYTES", [1])})
    with serving(model.handlers()) as (endpoint, _), OpenInferenceClient(endpoint, "m") as client:
        told = client.GetSignatures(Deadline.after(ENOUGH))
    assert told is not None
    (signature,) = told.values()
    assert (signature.inputs["x"].dtype, signature.inputs["text"].dtype) == (tf.DT_FLOAT, tf.DT_STRING)
    assert [dim.size for dim in signature.outputs["x"].tensor_shape.dim] == [-1, 4]


@pytest.mark.parametrize("name", ["m", "another"])
def test_metadata_may_be_empty(name: str) -> None:
    with serving(Model("m", "no_metadata").handlers()) as (endpoint, _), OpenInferenceClient(endpoint, name) as client:
        assert client.GetSignatures(Deadline.after(ENOUGH)) is None


# ----------------------------------------------------------------------------------------------- answers that are none


def response(*raw: bytes, **output: Any) -> bytes:
    answer = pb.ModelInferResponse(model_name="m", raw_output_contents=raw)
    contents = output.pop("contents", {})
    added = answer.outputs.add(**{"name": "y", "datatype": "FP32", "shape": [2], **output})
    for field, values in contents.items():
        getattr(added.contents, field).extend(values)
    return answer.SerializeToString()


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"\xff\xff", "no ModelInferResponse"),
        (response(b"x" * 7), "the output 'y' of FP32 [2] with 7 octets of content"),
        (response(), "with 0 octets of content"),
        (response(b"x" * 8, b""), "1 outputs and 2 raw contents"),
        (response(b"x" * 8, contents={"fp32_contents": [1.0, 2.0]}), "raw and typed contents"),
        (response(contents={"fp64_contents": [1.0, 2.0]}), "of FP32 with contents in fp64_contents"),
        (response(contents={"fp32_contents": [1.0]}), "with 4 octets of content"),
        (response(b"x" * 8, datatype="FP8"), "of the datatype 'FP8'"),
        (response(b"x" * 8, shape=[-1]), "with the shape [-1]"),
        (response(datatype="INT8", contents={"int_contents": [1, 128]}), "of INT8 with a value that does not fit"),
        (response(datatype="FP16"), "with 0 octets of content"),
        (response(b"\x05\x00\x00\x00abc", datatype="BYTES", shape=[1]), "BYTES that is cut off"),
        (response(b"\x05\x00", datatype="BYTES", shape=[1]), "BYTES that is cut off"),
        (response(b"\x00\x00\x00\x00", datatype="BYTES"), "of BYTES [2] with 1 elements"),
        (response(datatype="BYTES", contents={"bytes_contents": [b"a"]}), "of BYTES [2] with 1 elements"),
        (response(b"x" * 8) + response(b"x" * 8), "the output 'y' twice"),
        (response(b"", shape=[2**62, 2**62]), "with 0 octets of content"),
    ],
)
def test_an_answer_that_says_more_than_it_brings_is_unreadable(payload: bytes, problem: str) -> None:
    with pytest.raises(UnreadableAnswer) as caught:
        read_infer_response(payload)
    assert problem in str(caught.value)


@pytest.mark.parametrize("version", ["", "v2", "-1", "9" * 30])
def test_a_version_that_is_no_number_is_not_told(version: str) -> None:
    answer = read_infer_response(pb.ModelInferResponse(model_name="m", model_version=version).SerializeToString())
    assert (answer.model, answer.version, answer.outputs) == ("m", None, {})


def test_every_datatype_of_the_table_is_one_of_ours() -> None:
    assert {name: ELEMENT_TYPES[datatype.number].size for name, datatype in BY_NAME.items()} == {
        name: size for name, (size, _, _) in DATATYPES.items()
    }


def test_a_refused_request_is_told_with_the_servers_words() -> None:
    with serving(Model("m", "refuses").handlers()) as (endpoint, _), OpenInferenceClient(endpoint, "m") as client:
        with pytest.raises(AttemptFailed, match="INVALID_ARGUMENT: this server refuses everything") as caught:
            client.SendRequests([predict({"x": tensor("FP32")})], Deadline.after(ENOUGH))
    assert caught.value.reason is ReasonCode.REQUEST_FAILED
