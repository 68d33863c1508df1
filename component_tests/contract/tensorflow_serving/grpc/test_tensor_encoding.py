"""Contract 3.4: every dtype in and out, held against numpy. TensorFlow's C library runs in this process."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from component_tests.fakes.saved_models import SavedModels
from infra_validator.core import wire
from infra_validator.embedded_server.engine import tensors
from infra_validator.embedded_server.engine.c_api import Tensor, load_library
from infra_validator.embedded_server.inference.inference import RunSettings
from infra_validator.embedded_server.inference.prediction_service import PredictionService
from infra_validator.embedded_server.models.servable import Servable
from infra_validator.embedded_server.status import StatusError
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

pytestmark = pytest.mark.slow

SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SHAPES = st.lists(st.integers(0, 4), max_size=4)

# signature: numpy's dtype (bfloat16 has none there: its bits), the typed field
DTYPES: dict[str, tuple[str, str]] = {
    "float": ("<f4", "float_val"),
    "double": ("<f8", "double_val"),
    "half": ("<f2", "half_val"),
    "bfloat16": ("<u2", "half_val"),
    "int8": ("<i1", "int_val"),
    "int16": ("<i2", "int_val"),
    "int32": ("<i4", "int_val"),
    "int64": ("<i8", "int64_val"),
    "uint8": ("<u1", "int_val"),
    "uint16": ("<u2", "int_val"),
    "uint32": ("<u4", "uint32_val"),
    "uint64": ("<u8", "uint64_val"),
    "bool": ("?", "bool_val"),
    "complex64": ("<c8", "scomplex_val"),
    "complex128": ("<c16", "dcomplex_val"),
    "qint8": ("<i1", "int_val"),
    "quint8": ("<u1", "int_val"),
    "qint16": ("<i2", "int_val"),
    "quint16": ("<u2", "int_val"),
    "qint32": ("<i4", "int_val"),
}


@pytest.fixture(scope="module")
def service(saved_models: SavedModels) -> Iterator[PredictionService]:
    load_library()
    servable = Servable.load("identity", 1, str(saved_models.path("identity")))

    class Only:
        def find(self, _spec: serving_pb2.ModelSpec) -> Servable:
            assert servable.try_hold()
            return servable

    yield PredictionService(Only())
    servable.unload()


def array_of(draw: st.DataObject, signature: str, shape: list[int]) -> Any:
    dtype = numpy.dtype(DTYPES[signature][0])
    count = int(numpy.prod(shape, dtype=numpy.int64))
    if signature == "bool":
        values = draw.draw(st.lists(st.booleans(), min_size=count, max_size=count))
        return numpy.array(values, dtype).reshape(shape)
    size = count * dtype.itemsize
    return numpy.frombuffer(draw.draw(st.binary(min_size=size, max_size=size)), dtype).reshape(shape)


def typed_values(signature: str, array: Any) -> list[Any]:
    """The elements as TensorFlow's typed fields hold them."""
    flat = array.ravel()
    if signature == "half":
        flat = flat.view("<u2")
    if signature.startswith("complex"):
        flat = flat.view("<f4" if signature == "complex64" else "<f8")
    values: list[Any] = flat.tolist()
    return values


def proto(signature: str, array: Any, as_content: bool) -> Any:
    message = tensorflow_pb2.TensorProto(dtype=tensorflow_pb2.DataType.Value(f"DT_{signature.upper()}"))
    message.tensor_shape.SetInParent()
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    if as_content:
        message.tensor_content = array.tobytes()
    else:
        getattr(message, DTYPES[signature][1]).extend(typed_values(signature, array))
    return message


def answer(service: PredictionService, signature: str, sent: Any) -> Any:
    request = serving_pb2.PredictRequest(model_spec={"name": "identity", "signature_name": signature})  # type: ignore[arg-type]
    request.inputs["x"].CopyFrom(sent)
    response = service.predict(request.SerializeToString(), RunSettings())
    return serving_pb2.PredictResponse.FromString(response).outputs["y"]


def same_bits(signature: str, got: Any, array: Any) -> bool:
    dtype = numpy.dtype(DTYPES[signature][0])
    if signature == "half":
        dtype = numpy.dtype("<u2")
    values = list(getattr(got, DTYPES[signature][1]))
    if signature.startswith("complex"):
        memory = numpy.array(values, "<f4" if signature == "complex64" else "<f8").tobytes()
        expected = array.tobytes()
    else:
        memory, expected = numpy.array(values, dtype).tobytes(), array.tobytes()
    if dtype.kind in "fc":  # a NaN's payload may be made quiet by Python's floats on their way through the message
        kind = "<f4" if dtype.itemsize == 4 or signature == "complex64" else "<f8"
        return bool(numpy.array_equal(numpy.frombuffer(memory, kind), numpy.frombuffer(expected, kind), equal_nan=True))
    return bool(memory == expected)


@pytest.mark.parametrize("signature", DTYPES)
@pytest.mark.parametrize("as_content", [True, False], ids=["content", "typed"])
@SETTINGS
@given(draw=st.data(), shape=SHAPES)
def test_3_4_every_dtype_comes_back_as_numpy_has_it(
    service: PredictionService, signature: str, as_content: bool, draw: st.DataObject, shape: list[int]
) -> None:
    array = array_of(draw, signature, shape)
    got = answer(service, signature, proto(signature, array, as_content))
    assert [dim.size for dim in got.tensor_shape.dim] == shape
    assert got.dtype == tensorflow_pb2.DataType.Value(f"DT_{signature.upper()}")
    assert same_bits(signature, got, array)
    assert not got.tensor_content


@pytest.mark.parametrize("signature", [name for name in DTYPES if name != "bool"])
@pytest.mark.parametrize("as_content", [True, False], ids=["content", "typed"])
def test_3_4_large_tensors_are_read_in_place_with_the_same_result(
    service: PredictionService, signature: str, as_content: bool
) -> None:
    dtype = numpy.dtype(DTYPES[signature][0])
    random = numpy.random.default_rng(1)
    array = numpy.frombuffer(random.bytes(3 * 5000 * dtype.itemsize), dtype).reshape(3, 5000)
    assert same_bits(signature, answer(service, signature, proto(signature, array, as_content)), array)


@SETTINGS
@given(values=st.lists(st.binary(max_size=40), max_size=30))
def test_3_4_strings(service: PredictionService, values: list[bytes]) -> None:
    sent = tensorflow_pb2.TensorProto(dtype=tensorflow_pb2.DT_STRING, string_val=values)
    sent.tensor_shape.dim.add(size=len(values))
    assert answer(service, "string", sent) == sent


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_3_4_strings_with_wrong_counts(service: PredictionService, count: int) -> None:
    sent = tensorflow_pb2.TensorProto(dtype=tensorflow_pb2.DT_STRING, string_val=[b"a", b"b"][:count])
    sent.tensor_shape.dim.add(size=3)
    expected = {0: [b""] * 3, 1: [b"a"] * 3}.get(count, [b"a", b"b", b"b"])
    assert list(answer(service, "string", sent).string_val) == expected


@SETTINGS
@given(serialized=st.binary(max_size=200))
def test_3_4_random_bytes_are_a_tensor_or_an_error(serialized: bytes) -> None:
    failure = ""
    try:
        tensors.decode("x", serialized, 0, len(serialized))
    except StatusError as error:
        failure = str(error)
    except wire.WireError:
        pass
    assert failure in ("", "INVALID_ARGUMENT: tensor parsing error: x")


@SETTINGS
@given(draw=st.data(), cut=st.integers(0, 60))
def test_3_4_truncated_requests_are_answered_or_refused(
    service: PredictionService, draw: st.DataObject, cut: int
) -> None:
    request = serving_pb2.PredictRequest()
    request.model_spec.name = "identity"
    request.inputs["x"].CopyFrom(proto("float", array_of(draw, "float", [3]), as_content=True))
    whole = request.SerializeToString()
    position = draw.draw(st.integers(0, len(whole) - 1))
    flipped = bytes([draw.draw(st.integers(0, 255))])
    for damaged in (whole[:cut], whole[:position] + flipped + whole[position + 1 :]):
        try:
            service.predict(damaged, RunSettings())
        except (StatusError, wire.WireError):
            pass  # any other exception fails the test


def test_3_4_a_tensor_keeps_the_request_alive_as_long_as_it_is_read() -> None:
    load_library()
    content = struct.pack("<6000f", *range(6000))
    message = tensorflow_pb2.TensorProto(dtype=tensorflow_pb2.DT_FLOAT, tensor_content=content)
    message.tensor_shape.dim.add(size=6000)
    serialized = message.SerializeToString()
    tensor: Tensor = tensors.decode("x", serialized, 0, len(serialized))
    view = tensor.memory()
    del serialized, message, tensor
    assert view.tobytes() == content
