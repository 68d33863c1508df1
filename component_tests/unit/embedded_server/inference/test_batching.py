"""Tensors joined into batches and cut out of them, and the parameters' checks. Without TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from google.protobuf import text_format

from infra_validator.embedded_server.engine.c_api import STRING
from infra_validator.embedded_server.inference.batch_rows import Rows, batch_size, joined, put_together, split
from infra_validator.embedded_server.inference.batch_scheduler import Limits
from infra_validator.embedded_server.inference.batching import Batching, Parameters
from infra_validator.embedded_server.status import Code, StatusError
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

FLOAT, RESOURCE = 1, 20


def floats(shape: tuple[int, ...], *values: float) -> Rows:
    return Rows(FLOAT, shape, struct.pack(f"{len(values)}f", *values))


def strings(shape: tuple[int, ...], *values: bytes) -> Rows:
    return Rows(STRING, shape, list(values))


def listed(tensor: Rows) -> tuple[tuple[int, ...], list[object]]:
    return tensor.shape, [*(tensor.strings() if tensor.dtype == STRING else tensor.memory().cast("f").tolist())]


def join(parts: Sequence[Rows], size: int, pads: bool = False) -> tuple[tuple[int, ...], list[object]]:
    found = joined("x:0", parts, size, pads)
    assert isinstance(found, Rows)
    return listed(found)


def proto(text: str) -> serving_pb2.BatchingParameters:
    return text_format.Parse(text, serving_pb2.BatchingParameters())


def of(text: str) -> Parameters:
    return Parameters.of(proto(text))


# ----------------------------------------------------------------------------------------------------- parameters


def test_defaults() -> None:
    assert of("") == Parameters(Limits(1000, 1000, 0.0, 10, False), (), False)


def test_every_parameter() -> None:
    text = """max_batch_size { value: 8 } batch_timeout_micros { value: 2500 } max_enqueued_batches { value: 3 }
        num_batch_threads { value: 5 } thread_pool_name { value: "p" } allowed_batch_sizes: [2, 8]
        pad_variable_length_inputs: true enable_large_batch_splitting { value: true }
        max_execution_batch_size { value: 4 }"""
    assert of(text) == Parameters(Limits(8, 4, 0.0025, 3, True), (2, 8), True)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("max_batch_size { value: 8 } max_execution_batch_size { value: 4 }", Limits(8, 8)),
        ("max_batch_size { value: 8 } enable_large_batch_splitting { value: true }", Limits(8, 8, splits=True)),
        ("enable_large_batch_splitting { value: true }", Limits(splits=True)),
        ("max_enqueued_batches { value: 0 }", Limits(batches=1)),
    ],
    ids=["an execution size without splitting", "splitting without one", "splitting alone", "no batches"],
)
def test_parameters_together(text: str, limits: Limits) -> None:
    assert of(text).limits == limits


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size { value: 8 } allowed_batch_sizes: [2, 4]",
         "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8"),
        ("allowed_batch_sizes: 4",
         "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 1000"),
        ("max_batch_size { value: 0 }", "input_batch_size_limit must be positive; was 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative; was -1"),
        ("max_enqueued_batches { value: -1 }", "max_enqueued_batches must be positive; was -1"),
        ("max_enqueued_batches { value: 0 } enable_large_batch_splitting { value: true }",
         "max_enqueued_batches must be positive; was 0"),
        ("max_batch_size { value: 4 } enable_large_batch_splitting { value: true } max_execution_batch_size { value: 5 }",
         "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to "
         "max_execution_batch_size, and that positive; were 4 and 5"),
    ],
)  # fmt: skip
def test_parameters_that_are_wrong(text: str, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        of(text)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


def test_no_threads_fail_the_load() -> None:
    batching = Batching(proto("num_batch_threads { value: 0 }"))
    with pytest.raises(StatusError, match="num_batch_threads must be positive; was 0"):
        batching.of_version("/nowhere")


def test_sizes_that_batches_are_filled_up_to() -> None:
    parameters = of("max_batch_size { value: 8 } allowed_batch_sizes: [2, 4, 8]")
    assert [parameters.filled_up(rows) for rows in (0, 1, 2, 3, 8)] == [0, 2, 2, 4, 8]
    assert of("").filled_up(3) == 3


# -------------------------------------------------------------------------------------------------------- in and out


def test_rows_of_a_request() -> None:
    assert batch_size([(3,), (3, 2)]) == 3
    assert batch_size([(0, 2)]) == 0


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([], "Batching Run() must have at least one input tensor"),
        ([(3,), ()], "Batching Run() input tensors must have at least one dimension"),
        ([(3,), (2, 3)], "Batching Run() input tensors must have equal 0th-dimension size"),
    ],
)
def test_requests_without_a_number_of_rows(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(StatusError) as caught:
        batch_size(shapes)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


def test_a_request_alone_is_not_touched() -> None:
    alone = floats((1, 2), 1, 2)
    assert joined("x:0", [alone], 1, False) is alone


def test_rows_are_joined() -> None:
    parts = [floats((1, 2), 1, 2), floats((0, 2)), floats((2, 2), 3, 4, 5, 6)]
    assert join(parts, 3) == ((3, 2), [1, 2, 3, 4, 5, 6])
    assert join([strings((1,), b"a"), strings((2,), b"b", b"c")], 3) == ((3,), [b"a", b"b", b"c"])


def test_the_first_row_of_the_last_request_fills_a_batch_up() -> None:
    assert join([floats((1, 2), 1, 2), floats((2, 2), 3, 4, 5, 6)], 5) == ((5, 2), [1, 2, 3, 4, 5, 6, 3, 4, 3, 4])
    assert join([floats((1,), 1), floats((0,))], 3) == ((3,), [1, 1, 1])
    assert join([strings((2,), b"a", b"b")], 4) == ((4,), [b"a", b"b", b"a", b"a"])


def test_shapes_that_differ() -> None:
    with pytest.raises(StatusError) as caught:
        join([floats((1, 1), 1), floats((1, 2), 1, 2)], 2)
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert caught.value.message.startswith("Tensors with name 'x:0' from different tasks have different shapes and ")


def test_shapes_that_differ_are_filled_up_with_each_ones_first_element() -> None:
    parts = [floats((1, 1), 7), floats((2, 3), 1, 2, 3, 4, 5, 6)]
    assert join(parts, 3, pads=True) == ((3, 3), [7, 7, 7, 1, 2, 3, 4, 5, 6])
    parts = [floats((1, 2, 1), 1, 2), floats((1, 1, 2), 8, 9)]
    assert join(parts, 3, pads=True) == ((3, 2, 2), [1, 1, 2, 1, 8, 9, 8, 8, 8, 9, 8, 8])
    parts = [strings((1, 1), b"a"), strings((1, 2), b"b", b"c")]
    assert join(parts, 2, pads=True) == ((2, 2), [b"a", b"a", b"b", b"c"])


@pytest.mark.parametrize(
    ("shapes", "code", "message"),
    [
        ([(1, 0), (1, 2)], Code.INVALID_ARGUMENT, "Got empty tensor in batch of non-empty tensors."),
        ([(1,) * 7, (1, 2, 1, 1, 1, 1, 1)], Code.INVALID_ARGUMENT, "Only tensors with rank from 1 to 6 can be padded."),
        ([(1, 1), (1, 1, 1)], Code.INTERNAL, "Tensor concat operation failed: tensors with name 'x:0' "),
    ],
    ids=["empty", "rank 7", "ranks"],
)
def test_shapes_that_cannot_be_filled_up(shapes: list[tuple[int, ...]], code: Code, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        join([Rows(FLOAT, shape, b"") for shape in shapes], 2, pads=True)
    assert (caught.value.code, caught.value.message[: len(message)]) == (code, message)


def test_handles_are_not_joined() -> None:
    with pytest.raises(StatusError, match="Tensors of type DT_RESOURCE cannot be batched"):
        join([Rows(RESOURCE, (1,), b"12345678"), Rows(RESOURCE, (1,), b"12345678")], 2)


def test_answers_are_cut_into_each_ones_rows() -> None:
    outputs = [floats((4, 2), 1, 2, 3, 4, 5, 6, 7, 8), strings((4,), b"a", b"b", b"c", b"d")]
    answers = split(outputs, [1, 0, 2], 4)
    assert [[listed(tensor) for tensor in answer if isinstance(tensor, Rows)] for answer in answers] == [
        [((1, 2), [1, 2]), ((1,), [b"a"])],
        [((0, 2), []), ((0,), [])],
        [((2, 2), [3, 4, 5, 6]), ((2,), [b"b", b"c"])],
    ]
    assert split(outputs, [4], 4) == [outputs]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (floats((), 1), "Batched output tensor has 0 dimensions"),
        (floats((1,), 1), "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of "
         "the input tensors"),
    ],
)  # fmt: skip
def test_answers_that_are_not_as_long_as_the_batch(output: Rows, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        split([output], [2], 2)
    assert (caught.value.code, caught.value.message) == (Code.FAILED_PRECONDITION, message)


def test_the_pieces_of_a_request_are_put_together() -> None:
    whole = put_together([floats((1, 2), 1, 2), floats((2, 2), 3, 4, 5, 6)])
    assert isinstance(whole, Rows)
    assert listed(whole) == ((3, 2), [1, 2, 3, 4, 5, 6])
    texts = put_together([strings((1,), b"a"), strings((1,), b"b")])
    assert isinstance(texts, Rows)
    assert listed(texts) == ((2,), [b"a", b"b"])
    with pytest.raises(StatusError, match="the pieces of a request were answered in different shapes"):
        put_together([floats((1, 1), 1), floats((1, 2), 1, 2)])
