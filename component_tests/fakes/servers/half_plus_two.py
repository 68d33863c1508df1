"""What the fake model servers answer: half_plus_two (y = x / 2 + 2) honestly, or with one of the lies of ``LIES``."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any

#: Every way to lie in an answer, with what is wrong. Requests have "rows" numbers.
LIES = {
    "empty": "an answer of no octets",
    "garbage": "octets that are no message",
    "half": "the first half of the answer",
    "another_model": "the answer names another model",
    "another_version": "the answer names version 7",
    "another_signature": "the answer names another signature",
    "missing_output": "the answer has no outputs, only who answered",
    "extra_output": "an output that the signature does not have",
    "wrong_dtype": "y as double",
    "wrong_shape": "y with a dimension too many",
    "wrong_batch": "y with one row too many",
    "nan": "NaN in 1 of 100 rows, or in the only one",
    "infinite": "infinity in the last row",
    "constant": "always 2.5",
    "wrong_order": "the rows of a batch in reverse",
    "huge": "y of 2^40 elements, of which none is there",
    "negative": "y with a dimension of -5",
    "many_outputs": "10,000 outputs",
    "endless_strings": "y as a string tensor with a million strings in one row",
}


def inputs(request: Any) -> list[float]:
    """The numbers of the input x."""
    tensor = request.inputs["x"]
    return list(tensor.float_val) or [number for (number,) in struct.iter_unpack("<f", tensor.tensor_content)]


def predict(payload: bytes, lie: str = "") -> bytes:
    """The answer to a PredictRequest."""
    from infra_validator.protos import tensorflow_serving_pb2 as pb

    request: Any = pb.PredictRequest.FromString(payload)
    answer: Any = pb.PredictResponse()
    answer.model_spec.name = request.model_spec.name
    answer.model_spec.version.value = 1
    answer.model_spec.signature_name = request.model_spec.signature_name
    y = answer.outputs["y"]
    y.dtype = 1
    values = [number / 2 + 2 for number in inputs(request)]
    for dim in request.inputs["x"].tensor_shape.dim:
        y.tensor_shape.dim.add().size = dim.size
    if "x" not in payload.decode("latin-1"):
        y.tensor_shape.dim.add().size = 0  # a request without inputs
    y.float_val.extend(values)
    spoil: Callable[[Any], bytes | None] | None = globals().get(f"_{lie}")
    if spoil is not None:
        spoilt = spoil(answer)
        if spoilt is not None:
            return spoilt
    return bytes(answer.SerializeToString())


def _empty(answer: Any) -> bytes:
    return b""


def _garbage(answer: Any) -> bytes:
    return b"\xff\xfe no message at all"


def _half(answer: Any) -> bytes:
    whole = bytes(answer.SerializeToString())
    return whole[: len(whole) // 2]


def _another_model(answer: Any) -> None:
    answer.model_spec.name = "somebody_elses"


def _another_version(answer: Any) -> None:
    answer.model_spec.version.value = 7


def _another_signature(answer: Any) -> None:
    answer.model_spec.signature_name = "another"


def _missing_output(answer: Any) -> None:
    answer.outputs.clear()


def _extra_output(answer: Any) -> None:
    answer.outputs["z"].CopyFrom(answer.outputs["y"])


def _wrong_dtype(answer: Any) -> None:
    y = answer.outputs["y"]
    y.dtype = 2
    y.double_val.extend(y.float_val)
    del y.float_val[:]


def _wrong_shape(answer: Any) -> None:
    answer.outputs["y"].tensor_shape.dim.add().size = 1


def _wrong_batch(answer: Any) -> None:
    y = answer.outputs["y"]
    y.tensor_shape.dim[0].size += 1
    y.float_val.append(0.0)


def _nan(answer: Any) -> None:
    values = answer.outputs["y"].float_val
    values[min(57, len(values) - 1)] = float("nan")


def _infinite(answer: Any) -> None:
    answer.outputs["y"].float_val[-1] = float("inf")


def _constant(answer: Any) -> None:
    values = answer.outputs["y"].float_val
    values[:] = [2.5] * len(values)


def _wrong_order(answer: Any) -> None:
    values = answer.outputs["y"].float_val
    values[:] = list(values)[::-1]


def _huge(answer: Any) -> None:
    y = answer.outputs["y"]
    del y.float_val[1:]
    y.tensor_shape.dim[0].size = 2**40


def _negative(answer: Any) -> None:
    answer.outputs["y"].tensor_shape.dim[0].size = -5


def _many_outputs(answer: Any) -> None:
    y = answer.outputs["y"]
    for number in range(10_000):
        answer.outputs[f"y{number}"].CopyFrom(y)


def _endless_strings(answer: Any) -> None:
    y = answer.outputs["y"]
    y.dtype = 7
    del y.float_val[:]
    y.string_val.extend([b""] * 1_000_000)


def metadata(model_base_path: str, model: str) -> bytes | None:
    """The answer to GetModelMetadata, by the signatures of the model that the server was given; None where it has none."""
    from infra_validator.protos import tensorflow_serving_pb2 as pb
    from infra_validator.saved_model.graph import read_graph

    versions = sorted(os.listdir(model_base_path)) if os.path.isdir(model_base_path) else []
    for version in versions:
        path = os.path.join(model_base_path, version)
        if not os.path.exists(os.path.join(path, "saved_model.pb")):
            continue
        answer: Any = pb.GetModelMetadataResponse()
        answer.model_spec.name = model
        answer.model_spec.version.value = 1
        signatures: Any = pb.SignatureDefMap()
        for name, signature in read_graph(path).signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        answer.metadata["signature_def"].type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        answer.metadata["signature_def"].value = signatures.SerializeToString()
        return bytes(answer.SerializeToString())
    return None
