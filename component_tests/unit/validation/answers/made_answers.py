"""Answers made by hand, as a server would write them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from infra_validator.core.answer import ELEMENT_TYPES, STRING, Tensor
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as pb

PREDICT = "/tensorflow.serving.PredictionService/Predict"

#: dtype -> (TensorProto's field of values, how one element is written as octets, a value of it).
KINDS: dict[int, tuple[str, str, float | bytes]] = {
    tf.DT_FLOAT: ("float_val", "<f", 1.5),
    tf.DT_DOUBLE: ("double_val", "<d", -2.5),
    tf.DT_INT32: ("int_val", "<i", -7),
    tf.DT_UINT8: ("int_val", "<B", 200),
    tf.DT_INT16: ("int_val", "<h", -300),
    tf.DT_INT8: ("int_val", "<b", -3),
    tf.DT_STRING: ("string_val", "", b"text"),
    tf.DT_INT64: ("int64_val", "<q", -(2**40)),
    tf.DT_BOOL: ("bool_val", "<?", True),
    tf.DT_UINT16: ("int_val", "<H", 60000),
    tf.DT_UINT32: ("uint32_val", "<I", 2**32 - 1),
    tf.DT_UINT64: ("uint64_val", "<Q", 2**64 - 1),
    tf.DT_HALF: ("half_val", "<H", 0x3C00),  # 1.0; written as its bits
    tf.DT_BFLOAT16: ("half_val", "<H", 0x3F80),  # 1.0; written as its bits
}

#: The bits or the value of NaN, by dtype.
NAN: dict[int, float] = {
    tf.DT_FLOAT: float("nan"),
    tf.DT_DOUBLE: float("nan"),
    tf.DT_HALF: 0x7E00,
    tf.DT_BFLOAT16: 0x7FC0,
}


def tensor(
    dtype: int, shape: Sequence[int], values: Sequence[float | bytes], *, as_content: bool = False
) -> tf.TensorProto:
    """A TensorProto with its values one by one, or as content."""
    made = tf.TensorProto()
    made.dtype = dtype  # type: ignore[assignment]
    for size in shape:
        made.tensor_shape.dim.add().size = size
    field, code, _ = KINDS[dtype]
    if as_content and code:
        made.tensor_content = b"".join(struct.pack(code, value) for value in values)
    else:
        getattr(made, field).extend(values)
    return made


def response(
    outputs: Mapping[str, tf.TensorProto], *, model: str = "m", version: int = 1, signature: str = "serving_default"
) -> pb.PredictResponse:
    """A PredictResponse."""
    made = pb.PredictResponse()
    made.model_spec.name = model
    made.model_spec.version.value = version
    made.model_spec.signature_name = signature
    for name, output in outputs.items():
        made.outputs[name].CopyFrom(output)
    return made


def signature(outputs: Mapping[str, tuple[int, Sequence[int] | None]]) -> tf.SignatureDef:
    """A predict signature with these outputs: (dtype, shape)."""
    made = tf.SignatureDef()
    made.method_name = "tensorflow/serving/predict"
    for name, (dtype, shape) in outputs.items():
        info = made.outputs[name]
        info.name = f"{name}:0"
        info.dtype = dtype  # type: ignore[assignment]
        if shape is None:
            info.tensor_shape.unknown_rank = True
        for size in shape or ():
            info.tensor_shape.dim.add().size = size
    return made


def read_tensor(dtype: int, shape: Sequence[int], values: Sequence[float | bytes]) -> Tensor:
    """An output as a client reads it. A complex element is two values, one of bfloat16 a float whose lower half is cut off."""
    if dtype == STRING:
        return Tensor(STRING, tuple(shape), strings=lambda: [value for value in values if isinstance(value, bytes)])
    element = ELEMENT_TYPES[dtype]
    octets = [struct.pack(f"<{element.code or 'f'}", value) for value in values]
    content = b"".join(octets if element.code else (four[2:] for four in octets))
    return Tensor(dtype, tuple(shape), memoryview(content))


def request(payload: bytes = b"request", rows: int | None = None, label: str = "record 1 of f") -> SampleRequest:
    return SampleRequest(PREDICT, "serving_default", payload, label, rows=rows)
