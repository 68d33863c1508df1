"""What is noted of the requests, how much of it is kept, and what becomes of texts that cannot be cleaned."""

from __future__ import annotations

import itertools
import struct
import threading
from collections.abc import Callable, Iterable

import pytest

from infra_validator.core.deadline import Deadline
from infra_validator.core.sample_request import RequestSource, SampleRequest
from infra_validator.core.signals.interruption import Interruption
from infra_validator.model_server_clients.open_inference.datatypes import raw_strings
from infra_validator.protos import open_inference_pb2 as pb
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as serving
from infra_validator.sample_requests.questions.tensor_values import tensor_of_values
from infra_validator.validation.redaction.redaction import WITHHELD, Redaction

PREDICTION = "/tensorflow.serving.PredictionService/"


def predict(*values: object, dtype: tf.DataType.ValueType = tf.DT_STRING) -> SampleRequest:
    message = serving.PredictRequest()
    message.inputs["x"].CopyFrom(tensor_of_values(dtype, [len(values)], values))
    return SampleRequest(f"{PREDICTION}Predict", "s", message.SerializeToString(), "a request")


def example(**features: bytes) -> tf.Example:
    made = tf.Example()
    for name, value in features.items():
        made.features.feature[name].bytes_list.value.append(value)
    return made


def sent(redaction: Redaction, make: Callable[[], Iterable[SampleRequest]], most: int | None = None) -> None:
    list(itertools.islice(redaction.noting(RequestSource(make))(), most))


def marked(number: int) -> SampleRequest:
    return predict(f"S3cret{number:06d}marker")


def soon() -> Deadline:
    return Deadline.after(30)


def test_nothing_sent_nothing_cleaned() -> None:
    redaction = Redaction()
    source = redaction.noting(RequestSource(lambda: [predict("S3cretName")]))
    assert redaction.cleaned(["it was S3cretName"]) == ["it was S3cretName"]  # not asked for yet: no server can know it
    list(source())
    assert redaction.cleaned(["it was S3cretName", ""]) == ["it was <value of input x>", ""]


def test_features_of_examples_have_their_names() -> None:
    redaction = Redaction()
    classify = serving.ClassificationRequest()
    classify.input.example_list_with_context.examples.append(example(name=b"S3cretName"))
    classify.input.example_list_with_context.context.CopyFrom(example(town=b"S3cretTown"))
    requests = [
        SampleRequest(f"{PREDICTION}Classify", "s", classify.SerializeToString(), "a"),
        predict(example(mail=b"S3cretMail").SerializeToString()),
    ]
    sent(redaction, lambda: requests)
    assert redaction.cleaned(["S3cretName S3cretTown S3cretMail"]) == [
        "<value of feature name> <value of feature town> <value of feature mail>"
    ]


@pytest.mark.parametrize("raw", [True, False])
def test_requests_of_the_open_inference_protocol(raw: bool) -> None:
    message = pb.ModelInferRequest()
    text, number = message.inputs.add(name="text", datatype="BYTES"), message.inputs.add(name="n", datatype="FP32")
    if raw:
        message.raw_input_contents.extend([raw_strings([b"x", b"S3cret"]), struct.pack("<f", 1234.5)])
    else:
        text.contents.bytes_contents.extend([b"x", b"S3cret"])
        number.contents.fp32_contents.append(1234.5)
    redaction = Redaction()
    asked = SampleRequest("/inference.GRPCInferenceService/ModelInfer", "", message.SerializeToString(), "a")
    sent(redaction, lambda: [asked])
    assert redaction.cleaned(["it was S3cret and 1234.5."]) == ["it was <value of input text> and <value of input n>."]


@pytest.mark.parametrize("rows", [1, 4, 200])
@pytest.mark.parametrize(("code", "datatype"), [("d", "FP64"), ("f", "FP32"), ("q", "INT64")])
def test_binary_data_that_a_traceback_quotes_as_a_literal_of_python(code: str, datatype: str, rows: int) -> None:
    """What MLServer answers to the binary data extension: the body's repr, which may be cut off."""
    values = [number % 97 + 1003 for number in range(2 * rows)]
    contents = [struct.pack(f"<{rows}{code}", *values[:rows]), struct.pack(f"<{rows}{code}", *values[rows:])]
    message = pb.ModelInferRequest()
    for name in ("a", "b"):
        message.inputs.add(name=name, datatype=datatype, shape=[rows])
    message.raw_input_contents.extend(contents)
    redaction = Redaction()
    asked = SampleRequest("/inference.GRPCInferenceService/ModelInfer", "", message.SerializeToString(), "a")
    sent(redaction, lambda: [asked])
    quoted = repr(b'{"inputs": []}' + b"".join(contents))
    for text in (f"Traceback: 'input': {quoted}}}]", f"Traceback: {quoted[:600]} ... (9 more characters)"):
        (cleaned,) = redaction.cleaned([text])
        assert "<value of" in cleaned
        literal = cleaned.partition("[]}")[2]
        assert literal.count("\\x") < 4, cleaned  # fewer octets than name anybody


@pytest.mark.parametrize("dtype", [tf.DT_FLOAT, tf.DT_DOUBLE, tf.DT_INT32, tf.DT_HALF])
def test_values_that_stand_one_by_one_are_found_as_the_octets_that_are_sent(dtype: tf.DataType.ValueType) -> None:
    code = {tf.DT_FLOAT: "f", tf.DT_DOUBLE: "d", tf.DT_INT32: "i", tf.DT_HALF: "e"}[dtype]
    redaction = Redaction()
    sent(redaction, lambda: [predict(1003, 2004, 305, dtype=dtype)])
    assert redaction.cleaned([repr(b"{}" + struct.pack(f"<3{code}", 1003, 2004, 305))]) == ["b'{}<value of input x>'"]


def test_requests_of_other_services_are_taken_apart() -> None:
    redaction = Redaction()
    payload = example(name=b"S3cretName").SerializeToString()
    sent(redaction, lambda: [SampleRequest("/somebody.Else/Ask", "s", payload, "a")])
    assert redaction.cleaned(["it was S3cretName"]) == ["it was <value of a request>"]


def test_show_requests_does_nothing() -> None:
    redaction = Redaction(show=True)
    sent(redaction, lambda: [predict("S3cretName")])
    assert redaction.cleaned(["it was S3cretName"]) == ["it was S3cretName"]


def test_what_was_forgotten_is_read_again() -> None:
    redaction = Redaction(most_bytes=20_000)
    sent(redaction, lambda: map(marked, range(1000)))
    text = "first S3cret000000marker, last S3cret000999marker"
    assert redaction.cleaned([text], soon()) == ["first <value of input x>, last <value of input x>"]
    assert redaction.cleaned([text]) == [WITHHELD]  # a line of progress waits for no second reading


def test_readings_of_which_only_the_beginning_was_sent_are_the_same() -> None:
    redaction = Redaction(most_bytes=20_000)
    sent(redaction, lambda: map(marked, range(1000)), 300)
    sent(redaction, lambda: map(marked, range(1000)), 700)
    assert redaction.cleaned(["S3cret000000marker"], soon()) == ["<value of input x>"]


def test_a_source_that_gives_others_has_the_text_withheld() -> None:
    redaction, numbers = Redaction(most_bytes=20_000), itertools.count()
    sent(redaction, lambda: (marked(next(numbers)) for _ in range(1000)))
    assert redaction.cleaned(["first S3cret000000marker", ""], soon()) == [WITHHELD, ""]


def test_a_source_that_hangs_has_the_text_withheld() -> None:
    redaction, go_on, calls = Redaction(most_bytes=20_000), threading.Event(), itertools.count()

    def make() -> Iterable[SampleRequest]:
        if next(calls):
            go_on.wait(60)
        yield from map(marked, range(1000))

    sent(redaction, make)
    try:
        assert redaction.cleaned(["S3cret000000marker"], Deadline.after(0.05)) == [WITHHELD]
        interruption = Interruption()
        interruption.set("SIGTERM")
        assert redaction.cleaned(["S3cret000000marker"], soon(), interruption) == [WITHHELD]
    finally:
        go_on.set()


def test_a_source_that_fails_has_the_text_withheld() -> None:
    calls = itertools.count()
    redaction = Redaction(most_bytes=20_000)

    def make() -> Iterable[SampleRequest]:
        if next(calls):
            raise OSError("gone")
        yield from map(marked, range(1000))

    sent(redaction, make)
    assert redaction.cleaned(["S3cret000000marker"], soon()) == [WITHHELD]


def test_the_same_requests_are_kept_once() -> None:
    redaction = Redaction(most_bytes=20_000)
    for _ in range(100):
        sent(redaction, lambda: map(marked, range(10)))
    assert redaction.cleaned(["S3cret000009marker"]) == ["<value of input x>"]


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        (tf.DT_FLOAT, 3.14159274, "3.14159274"),
        (tf.DT_DOUBLE, 0.12345678901234567, "0.12345678901234566"),
        (tf.DT_HALF, 1234.0, "1234"),
        (tf.DT_BFLOAT16, 1232.0, "1232"),
        (tf.DT_INT16, -12345, "-12345"),
        (tf.DT_INT64, 1234567890123, "1234567890123"),
        (tf.DT_UINT64, 2**64 - 1, "18446744073709551615"),
    ],
)
def test_numbers_of_every_type(dtype: tf.DataType.ValueType, value: object, text: str) -> None:
    redaction = Redaction()
    sent(redaction, lambda: [predict(value, dtype=dtype)])
    assert redaction.cleaned([f"it was {text}."]) == ["it was <value of input x>."]
