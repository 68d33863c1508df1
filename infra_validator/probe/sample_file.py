"""The file of ``--infer``: a PredictRequest, serialized or as JSON. Imported only with that flag.

The JSON form names every tensor's type, as the probe does not know the model's signature::

    {"signature_name": "serving_default",
     "inputs": {"x": {"dtype": "DT_FLOAT", "shape": [1, 3], "values": [1.0, 2.0, 3.0]}}}
"""

from __future__ import annotations

import struct

from infra_validator.core.wire import LENGTH, WireError, fields, length_field, varint, varint_field

# dtype -> (its number, the field of TensorProto that holds the values, how a value is packed)
_DTYPES = {
    "DT_FLOAT": (1, 5, "<f"),
    "DT_DOUBLE": (2, 6, "<d"),
    "DT_INT32": (3, 7, "varint"),
    "DT_UINT8": (4, 7, "varint"),
    "DT_STRING": (7, 8, "string"),
    "DT_INT64": (9, 10, "varint"),
    "DT_BOOL": (10, 11, "varint"),
}


class SampleError(ValueError):
    """A file that holds no PredictRequest."""


def predict_request(content: bytes) -> bytes:
    """The serialized PredictRequest in a file's content.

    Raises:
      SampleError: it is neither JSON of the form above nor a protobuf message with fields as a PredictRequest has them.
    """
    if content.lstrip()[:1] == b"{":
        return _from_json(content)
    try:
        strange = [
            number for number, wire_type, _, _ in fields(content) if number not in (1, 2, 3) or wire_type != LENGTH
        ]
    except WireError as error:
        raise SampleError(f"neither JSON nor a serialized PredictRequest ({error})") from None
    if strange:
        raise SampleError(f"not a serialized PredictRequest: it has no field {strange[0]} like this one")
    return content


def _from_json(content: bytes) -> bytes:
    try:
        import json
    except ImportError:  # python3-minimal
        raise SampleError(
            "reading JSON needs Python's json module (libpython3-stdlib), or give the request as protobuf"
        ) from None
    try:
        request = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SampleError(f"not JSON: {error}") from None
    unknown = sorted(set(request) - {"signature_name", "inputs"})
    if unknown:
        raise SampleError(f"unknown field {unknown[0]!r}; known are 'signature_name' and 'inputs'")
    inputs, signature = request.get("inputs"), request.get("signature_name", "")
    if not isinstance(inputs, dict) or not isinstance(signature, str):
        raise SampleError("'inputs' must be an object and 'signature_name' a string")
    out = length_field(1, length_field(3, signature.encode())) if signature else b""
    for name, tensor in inputs.items():
        out += length_field(2, length_field(1, name.encode()) + length_field(2, _tensor(name, tensor)))
    return out


def _tensor(name: str, tensor: object) -> bytes:
    if not isinstance(tensor, dict) or set(tensor) != {"dtype", "shape", "values"}:
        raise SampleError(f"input {name!r} must have 'dtype', 'shape' and 'values'")
    if tensor["dtype"] not in _DTYPES:
        raise SampleError(f"input {name!r}: dtype {tensor['dtype']!r} is not one of {', '.join(_DTYPES)}")
    number, field, packing = _DTYPES[tensor["dtype"]]
    shape, values = tensor["shape"], tensor["values"]
    if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 1 << 31 for size in shape):
        raise SampleError(f"input {name!r}: 'shape' must be a list of sizes")
    count = 1
    for size in shape:
        count *= size
    if not isinstance(values, list) or len(values) != count:
        raise SampleError(f"input {name!r}: 'values' must be a flat list of {count} values")
    dimensions = b"".join(length_field(2, varint_field(1, size)) for size in shape)
    try:
        return varint_field(1, number) + length_field(2, dimensions) + _pack(field, packing, values)
    except (struct.error, TypeError, AttributeError, OverflowError) as error:
        raise SampleError(f"input {name!r}: a value is no {tensor['dtype']}: {error}") from None


def _pack(field: int, packing: str, values: list[object]) -> bytes:
    if packing == "string":
        return b"".join(length_field(field, value.encode()) for value in values)  # type: ignore[attr-defined]
    if packing == "varint":
        return length_field(field, b"".join(varint(value) for value in values))  # type: ignore[arg-type]
    return length_field(field, b"".join(struct.pack(packing, value) for value in values))
