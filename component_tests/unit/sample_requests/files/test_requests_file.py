"""Sample requests from files: JSON in its forms, PredictionLogs, and every way in which such a file is bad."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pathlib
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from component_tests.unit.sample_requests.examples_on_disk import example, signature, tfrecord
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.files.prediction_log import write_warmup_file
from infra_validator.sample_requests.files.requests_file import requests_from_file
from infra_validator.sample_requests.questions import methods

SIGNATURES = {
    "serving_default": signature("predict", x=(tf.DT_FLOAT, [-1])),
    "two": signature("predict", a=(tf.DT_INT64, [-1, 2]), b=(tf.DT_STRING, [-1])),
    "texts": signature("predict", examples=(tf.DT_STRING, [-1])),
    "classify": signature("classify", inputs=(tf.DT_STRING, [-1])),
    "regress": signature("regress", inputs=(tf.DT_STRING, [-1])),
    "scores": signature("predict", instances=(tf.DT_FLOAT, [-1])),
}


def read(file: pathlib.Path, content: str | bytes, default: str = "serving_default") -> list[SampleRequest]:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(requests_from_file(str(file), SIGNATURES, "m", [default]))


def floats(request: SampleRequest) -> tuple[list[int], list[float]]:
    """(shape, values) of the input x."""
    assert request.method == methods.PREDICT
    made = serving_pb2.PredictRequest.FromString(request.payload)
    assert (made.model_spec.name, made.model_spec.signature_name) == ("m", request.signature)
    tensor = made.inputs["x"]
    assert tensor.dtype == tf.DT_FLOAT
    return [dim.size for dim in tensor.tensor_shape.dim], list(tensor.float_val)


# ---------------------------------------------------------------------------------------------------- JSON, good


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "f.json"


def test_rows_are_one_request(file: pathlib.Path) -> None:
    (request,) = read(file, '{"instances": [1.0, 2, 5.5]}')
    assert floats(request) == ([3], [1.0, 2.0, 5.5])
    assert (request.signature, request.label) == ("serving_default", "f.json")


def test_rows_may_be_named(file: pathlib.Path) -> None:
    (request,) = read(file, '{"instances": [{"x": 1}, {"x": 2}]}')
    assert floats(request) == ([2], [1.0, 2.0])


def test_columns_are_one_request(file: pathlib.Path) -> None:
    assert floats(read(file, '{"inputs": [1, 2]}')[0]) == ([2], [1.0, 2.0])
    assert floats(read(file, '{"inputs": {"x": [[1], [2]]}}')[0]) == ([2, 1], [1.0, 2.0])
    assert floats(read(file, '{"inputs": 3}')[0]) == ([], [3.0])


def test_a_body_a_line(file: pathlib.Path) -> None:
    made = read(file, '{"instances": [1]}\n\n{"signature_name": "serving_default", "instances": [2, 3]}\n')
    assert [floats(request) for request in made] == [([1], [1.0]), ([2], [2.0, 3.0])]
    assert [request.label for request in made] == ["line 1 of f.json", "line 3 of f.json"]


def test_an_instance_a_line(file: pathlib.Path) -> None:
    assert [floats(request) for request in read(file, "1\n2.5\n")] == [([1], [1.0]), ([1], [2.5])]
    assert [floats(request) for request in read(file, '{"x": 1}\n{"x": 2}')] == [([1], [1.0]), ([1], [2.0])]
    assert [floats(request) for request in read(file, "[1, 2]\n[3, 4]\n")] == [
        ([1, 2], [1.0, 2.0]),
        ([1, 2], [3.0, 4.0]),
    ]


def test_a_list_of_instances(file: pathlib.Path) -> None:
    made = read(file, '[{"x": 1},\n {"x": 2}]\n')
    assert [floats(request) for request in made] == [([1], [1.0]), ([1], [2.0])]
    assert made[1].label == "instance 2 of f.json"


def test_a_body_over_many_lines(file: pathlib.Path) -> None:
    assert floats(read(file, json.dumps({"instances": [1, 2]}, indent=2))[0]) == ([2], [1.0, 2.0])


def test_gzip_and_a_byte_order_mark_are_no_trouble(file: pathlib.Path) -> None:
    assert read(file, gzip.compress(b'{"instances": [1]}'))
    assert read(file, b"\xef\xbb\xbf" + b'{"instances": [1]}')


def test_several_inputs_of_other_types(file: pathlib.Path) -> None:
    (request,) = read(
        file, '{"signature_name": "two", "instances": [{"a": [1, 2], "b": "ü"}, {"a": [3, 4], "b": {"b64": "/w=="}}]}'
    )
    made = serving_pb2.PredictRequest.FromString(request.payload)
    assert request.signature == "two"
    assert [dim.size for dim in made.inputs["a"].tensor_shape.dim] == [2, 2]
    assert list(made.inputs["a"].int64_val) == [1, 2, 3, 4]
    assert list(made.inputs["b"].string_val) == ["ü".encode(), b"\xff"]


def test_strings_for_a_signature_of_one_string(file: pathlib.Path) -> None:
    made = read(file, '"text"\n{"b64": "/w=="}\n', default="texts")
    values = [
        serving_pb2.PredictRequest.FromString(request.payload).inputs["examples"].string_val[0] for request in made
    ]
    assert values == [b"text", b"\xff"]


def test_an_input_may_be_called_as_the_key_of_a_body(file: pathlib.Path) -> None:
    (request,) = read(file, '{"instances": 1.0}', default="scores")
    made = serving_pb2.PredictRequest.FromString(request.payload)
    assert list(made.inputs["instances"].float_val) == [1.0]


@pytest.mark.parametrize(("name", "method"), [("classify", methods.CLASSIFY), ("regress", methods.REGRESS)])
def test_examples_for_classify_and_regress(file: pathlib.Path, name: str, method: str) -> None:
    body = {
        "signature_name": name,
        "examples": [{"x": 1.5, "n": [1, 2], "s": "a", "b": {"b64": "/w=="}, "yes": True, "e": []}],
    }
    (request,) = read(file, json.dumps(body))
    assert (request.method, request.signature) == (method, name)
    made = serving_pb2.ClassificationRequest.FromString(request.payload)  # the two are alike on the wire
    features = made.input.example_list.examples[0].features.feature
    assert list(features["x"].float_list.value) == [1.5]
    assert list(features["n"].int64_list.value) == [1, 2]
    assert list(features["s"].bytes_list.value) == [b"a"]
    assert list(features["b"].bytes_list.value) == [b"\xff"]
    assert list(features["yes"].int64_list.value) == [1]
    assert features["e"].WhichOneof("kind") is None


def test_examples_with_a_context(file: pathlib.Path) -> None:
    body = {"signature_name": "regress", "examples": [{"x": 1.5}], "context": {"c": "a"}}
    made = serving_pb2.RegressionRequest.FromString(read(file, json.dumps(body))[0].payload)
    assert "c" in made.input.example_list_with_context.context.features.feature


def test_lines_are_read_as_they_are_sent(file: pathlib.Path) -> None:
    file.write_text('{"x": 1}\n{"x": 2}\ngarbage\n')
    requests = requests_from_file(str(file), SIGNATURES, "m")
    assert floats(next(requests)) == ([1], [1.0])
    assert floats(next(requests)) == ([1], [2.0])
    with pytest.raises(UsageError, match="line 3"):
        next(requests)


# ----------------------------------------------------------------------------------------------------- JSON, bad


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n  \n", "holds nothing"),
        (b"[]", "holds no request"),
        (b"hello", "neither JSON nor .npz nor a TFRecord"),
        (b"\x00\x01\x02" * 10, "neither JSON nor .npz nor a TFRecord"),
        (b"not-a-number", "line 1, column 1: is no JSON"),
        (b'{"instances": [1,]}', "line 1, column"),
        (b'{"instances":\n [1\n', "line 2"),
        (b'{"instances":\n\n\n [1,]}', "line 4, column [45]: is no JSON"),
        (b'{"x": 1}\n{"x": \n', "line 2, column 6: is no JSON"),
        (b'{"x": 1}\n\xff\xff\n', "line 2: is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"instances": []}', "instances must be a list with something in it"),
        (b'{"instances": 3}', "instances must be a list"),
        (b'{"instances": [1], "inputs": [1]}', "only one of instances and inputs"),
        (b'{"signature_name": 3, "instances": [1]}', "signature_name must be a string"),
        (b'{"signature_name": "serving_default"}', "none of instances, inputs, examples"),
        (b'{"instances": [[1], [1, 2]]}', "ragged"),
        (b'{"instances": [[1], 2]}', "ragged"),
        (b'{"instances": [1, [2]]}', "ragged"),
        (b'{"instances": ["a"]}', "input 'x': a string is no number"),
        (b'{"instances": [true]}', "a boolean is no number"),
        (b'{"instances": [null]}', "null is no number"),
        (b'{"instances": [{"y": 1}]}', r"instance 1 of the request must be an object of x \(float, shape \[-1\]\)"),
        (b'{"instances": [{"x": 1}, 2]}', "instance 2"),
        (b'{"inputs": {"y": 1}}', "inputs must be an object of x"),
        (b'{"y": 1}', "must be an object of x"),
        (b'{"signature_name": "two", "instances": [1]}', r"an object of a \(int64, shape \[-1, 2\]\), b"),
        (b'{"signature_name": "two", "inputs": [1]}', "inputs must be an object of a"),
        (b'{"signature_name": "two", "instances": [{"a": [1.5, 2], "b": ""}]}', "a number is no int64"),
        (b'{"signature_name": "two", "instances": [{"a": [9223372036854775808, 2], "b": ""}]}', "does not fit int64"),
        (b'{"signature_name": "texts", "instances": [3]}', "a whole number is no string"),
        (b'{"signature_name": "texts", "instances": [{"b64": "%%"}]}', "base64"),
        (b'{"signature_name": "classify", "examples": []}', "examples must be a list"),
        (b'{"signature_name": "classify", "examples": [3]}', "an example must be an object"),
        (b'{"signature_name": "classify", "examples": [{"x": [1, 2.5]}]}', "mixes values of the kinds float and int64"),
        (b'{"signature_name": "classify", "examples": [{"x": null}]}', "feature 'x' holds something other"),
    ],
)
def test_a_bad_file_is_told(file: pathlib.Path, content: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        read(file, content)
    assert caught.value.reason is ReasonCode.BAD_REQUESTS
    assert str(file) in caught.value.detail


def test_messages_do_not_show_values(file: pathlib.Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(file, '{"instances": ["my secret"]}')
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: pathlib.Path) -> None:
    for path, said in ((tmp_path / "gone", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UsageError, match=said) as caught:
            requests_from_file(str(path), SIGNATURES, "m")
        assert caught.value.reason is ReasonCode.BAD_REQUESTS


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b'{"instances": [1]}' * 9)[:-9], gzip.compress(b"[1]")[:12]],
    ids=["in the check sum", "in the data"],  # the content holds the time it was made at
)
def test_gzip_that_is_cut_off_is_told(file: pathlib.Path, content: bytes) -> None:
    with pytest.raises(UsageError, match="gzip data is cut off"):
        read(file, content)


@pytest.mark.parametrize(
    "content", ['{"signature_name": "gone", "instances": [1]}', '{"x": 1}\n{"signature_name": "gone"}']
)
def test_a_signature_that_the_model_lacks_is_the_models_fault(file: pathlib.Path, content: str) -> None:
    with pytest.raises(AttemptFailed, match=r"no signature 'gone'; it has: .*'serving_default'") as caught:
        read(file, content)
    assert caught.value.reason is ReasonCode.SIGNATURE_NOT_FOUND


# --------------------------------------------------------------------------------------------------- PredictionLog


def logs() -> list[serving_pb2.PredictionLog]:
    predict, classify, regress, multi = (serving_pb2.PredictionLog() for _ in range(4))
    predict.predict_log.request.model_spec.name = "in-production"
    predict.predict_log.request.model_spec.version.value = 42
    predict.predict_log.request.inputs["x"].float_val.append(1.0)
    predict.predict_log.response.outputs["y"].float_val.append(2.5)
    classify.classify_log.request.model_spec.signature_name = "classify"
    classify.classify_log.request.input.example_list.examples.add().ParseFromString(example(1))
    regress.regress_log.request.model_spec.signature_name = "regress"
    regress.regress_log.request.model_spec.version_label = "stable"
    for name in ("classify", "regress"):
        task = multi.multi_inference_log.request.tasks.add(method_name=f"tensorflow/serving/{name}")
        task.model_spec.signature_name = name
    return [predict, classify, regress, multi]


def test_logs_of_each_kind_are_addressed_to_the_model_under_test(file: pathlib.Path) -> None:
    made = read(file, tfrecord([log.SerializeToString() for log in logs()]))
    assert [request.method for request in made] == [
        methods.PREDICT,
        methods.CLASSIFY,
        methods.REGRESS,
        methods.MULTI_INFERENCE,
    ]
    assert [request.signature for request in made] == ["serving_default", "classify", "regress", "classify, regress"]
    assert made[1].label == "record 2 of f.json"
    predict = serving_pb2.PredictRequest.FromString(made[0].payload)
    assert (predict.model_spec.name, predict.model_spec.WhichOneof("version_choice")) == ("m", None)
    assert list(predict.inputs["x"].float_val) == [1.0]
    regress = serving_pb2.RegressionRequest.FromString(made[2].payload)
    assert regress.model_spec.WhichOneof("version_choice") is None
    multi = serving_pb2.MultiInferenceRequest.FromString(made[3].payload)
    assert [task.model_spec.name for task in multi.tasks] == ["m", "m"]


def test_fields_that_we_do_not_know_pass_through(file: pathlib.Path) -> None:
    log = logs()[0]
    request = log.predict_log.request.SerializeToString() + b"\x32\x03abc"  # field 6, client_id
    nested = b"\x0a" + bytes([len(request)]) + request
    (made,) = read(file, tfrecord([b"\x32" + bytes([len(nested)]) + nested]))
    assert b"\x32\x03abc" in made.payload


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([b"garbage"], "record 1: is no PredictionLog"),
        ([b""], "record 1: is no PredictionLog, or one without a request"),
        (
            [logs()[0].SerializeToString(), b"\x2a\x00"],
            "record 2: is a session_run_log, which model servers do not answer",
        ),
        ([b"\x3a\x00"], "record 1: is a predict_streamed_log"),
    ],
)
def test_bad_records_are_told(file: pathlib.Path, records: list[bytes], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        read(file, tfrecord(records))
    assert caught.value.reason is ReasonCode.BAD_REQUESTS


def test_a_damaged_tfrecord_is_told(file: pathlib.Path) -> None:
    whole = tfrecord([log.SerializeToString() for log in logs()])
    with pytest.raises(UsageError, match="record 4: the file is cut off"):
        read(file, whole[:-2])


def test_a_file_called_tfrecord_is_read_as_one(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="record 1: the checksum of the record's length is wrong"):
        read(tmp_path / "requests.tfrecord", b"{garbage garbage}")


def test_a_log_for_a_signature_that_the_model_lacks_is_the_models_fault(file: pathlib.Path) -> None:
    log = logs()[0]
    log.predict_log.request.model_spec.signature_name = "gone"
    with pytest.raises(AttemptFailed, match=r"record 1 of f\.json, has no signature 'gone'") as caught:
        read(file, tfrecord([log.SerializeToString()]))
    assert caught.value.reason is ReasonCode.SIGNATURE_NOT_FOUND


# ----------------------------------------------------------------------------------------------------- tf.Example


def test_examples_are_sent_to_the_default_signature(file: pathlib.Path) -> None:
    made = read(file, gzip.compress(tfrecord([example(1), example(2)])), default="texts")
    assert [(request.method, request.signature) for request in made] == [(methods.PREDICT, "texts")] * 2
    assert made[1].label == "record 2 of f.json"


def test_examples_become_named_inputs(file: pathlib.Path) -> None:
    (request,) = read(file, tfrecord([example(1)]))
    assert floats(request) == ([1], [1.0])


def test_examples_that_do_not_fit_the_signature_are_told(file: pathlib.Path) -> None:
    with pytest.raises(UsageError, match=r"input a .* wants the feature 'a'; the record has: x") as caught:
        read(file, tfrecord([example(1)]), default="two")
    assert caught.value.reason is ReasonCode.BAD_REQUESTS


def test_what_names_no_signature_asks_each_that_is_named(file: pathlib.Path) -> None:
    file.write_text('{"instances": [1]}\n{"signature_name": "scores", "instances": [2]}\n3\n')
    made = list(requests_from_file(str(file), SIGNATURES, "m", ["serving_default", "scores"]))
    assert [(request.signature, request.label) for request in made] == [
        ("serving_default", "line 1 of f.json"),
        ("scores", "line 1 of f.json"),
        ("scores", "line 2 of f.json"),
        ("serving_default", "line 3 of f.json"),
        ("scores", "line 3 of f.json"),
    ]
    with pytest.raises(UsageError, match="line 1: for signature 'two'") as caught:
        list(requests_from_file(str(file), SIGNATURES, "m", ["serving_default", "two"]))
    assert caught.value.reason is ReasonCode.BAD_REQUESTS


def test_a_body_is_kept_for_rest_and_an_instance_is_none(file: pathlib.Path) -> None:
    body, instance = read(file, '{"instances": [1, 2]}\n[1, 2]\n')
    assert body.rest_body is not None
    assert json.loads(body.rest_body) == {"signature_name": "serving_default", "instances": [1, 2]}
    assert (body.rows, body.contradicts) == (2, "")
    assert instance.rest_body is None
    assert "'x' is declared with the shape [-1] and was given with the shape [1, 2]" in instance.contradicts


def test_a_bad_record_among_examples_is_the_files_fault(file: pathlib.Path) -> None:
    with pytest.raises(UsageError, match=r"f\.json, record 2: it is no serialized tf\.Example") as caught:
        read(file, tfrecord([example(1), b"x,y"]), default="texts")
    assert caught.value.reason is ReasonCode.BAD_REQUESTS


# ---------------------------------------------------------------------------------------------------- any bytes


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]":,.-+eE0123456789xyab64 \n', max_size=60)))
def test_no_file_makes_another_error_than_ours(file: pathlib.Path, content: bytes | str) -> None:
    with contextlib.suppress(UsageError, AttemptFailed):
        read(file, content)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(record=st.binary(max_size=100))
def test_no_record_makes_another_error_than_ours(file: pathlib.Path, record: bytes) -> None:
    with contextlib.suppress(UsageError, AttemptFailed):
        read(file, tfrecord([record]), default="texts")


def test_a_pipe_is_told(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            (tmp_path / "pipe").write_bytes(b"1")

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(UsageError, match="is a pipe"):
        requests_from_file(str(tmp_path / "pipe"), SIGNATURES, "m")
    writer.join()


# ------------------------------------------------------------------------------------------------------- warm-up


def test_a_warmup_file_is_read_back_as_the_same_requests(tmp_path: pathlib.Path) -> None:
    made = read(tmp_path / "f.json", tfrecord([log.SerializeToString() for log in logs()]))
    path = tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    assert write_warmup_file(made, str(path)) == 4
    again = list(requests_from_file(str(path), SIGNATURES, "m"))
    assert [(request.method, request.payload) for request in again] == [(r.method, r.payload) for r in made]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_warmup_file_has_a_thousand_records_at_most(tmp_path: pathlib.Path) -> None:
    one = SampleRequest(methods.PREDICT, "s", b"", "label")
    assert write_warmup_file([one] * 1001, str(tmp_path / "f")) == 1000


def test_requests_that_a_warmup_file_cannot_hold_are_told_and_leave_no_file(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="cannot hold"):
        write_warmup_file([SampleRequest("/other.Service/Do", "s", b"", "line 1")], str(tmp_path / "f"))
    assert list(tmp_path.iterdir()) == []


def test_a_warmup_file_that_cannot_be_written_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError, match="file/f") as caught:
        write_warmup_file([], str(tmp_path / "file" / "f"))
    assert caught.value.reason is ReasonCode.OUTPUT_NOT_WRITABLE
