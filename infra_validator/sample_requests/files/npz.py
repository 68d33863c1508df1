"""Sample requests from a NumPy archive (``.npz``): one array for each input, all of them one request. Nothing is ever unpickled."""

from __future__ import annotations

import importlib
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from infra_validator.core.errors import InfrastructureError, did_you_mean
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.files.json_requests import bad_requests
from infra_validator.sample_requests.questions import methods
from infra_validator.sample_requests.questions.question import Question
from infra_validator.sample_requests.questions.signature_inputs import Signatures, described_input, needed_inputs
from infra_validator.sample_requests.questions.tensor_values import tensor_of_bytes, tensor_of_values
from infra_validator.sample_requests.questions.values import FLOATS, INTEGERS, ValueMisfit, name_of
from infra_validator.saved_model.graph import signature_not_found

#: NumPy's name of a dtype's elements, little-endian. Of bfloat16, which NumPy lacks, the float that is rounded.
_NUMPY = {
    tf.DT_FLOAT: "<f4",
    tf.DT_DOUBLE: "<f8",
    tf.DT_HALF: "<f2",
    tf.DT_BFLOAT16: "<f4",
    tf.DT_INT8: "<i1",
    tf.DT_INT16: "<i2",
    tf.DT_INT32: "<i4",
    tf.DT_INT64: "<i8",
    tf.DT_UINT8: "<u1",
    tf.DT_UINT16: "<u2",
    tf.DT_UINT32: "<u4",
    tf.DT_UINT64: "<u8",
    tf.DT_QINT8: "<i1",
    tf.DT_QINT16: "<i2",
    tf.DT_QINT32: "<i4",
    tf.DT_QUINT8: "<u1",
    tf.DT_QUINT16: "<u2",
    tf.DT_BOOL: "?",
    tf.DT_COMPLEX64: "<c8",
    tf.DT_COMPLEX128: "<c16",
}


def questions_of_npz(path: str, signatures: Signatures, names: Sequence[str]) -> Iterator[Question]:
    """One question for each of ``names``.

    Raises:
      UsageError: BAD_REQUESTS; names the array.
      AttemptFailed: the model lacks a signature (SIGNATURE_NOT_FOUND).
      InfrastructureError: NumPy is not installed.
    """
    arrays = _arrays(path)
    for name in names:
        if name not in signatures:
            raise signature_not_found(name, signatures, "The model")
    known = sorted({key for name in names for key in signatures[name].inputs})
    for key in arrays:
        if key not in known:
            hint = did_you_mean(key, known)
            raise bad_requests(path, f"array {key!r}", f"is no input; there are: {', '.join(known)}.{hint}".rstrip("."))
    for name in names:
        signature = signatures[name]
        if signature.method_name in (methods.CLASSIFY_METHOD_NAME, methods.REGRESS_METHOD_NAME):
            raise bad_requests(path, "", f"holds arrays, but signature {name!r} takes tf.Example")
        for key in sorted(needed_inputs(signature) - arrays.keys()):
            described = described_input(key, signature.inputs[key])
            raise bad_requests(path, "", f"has no array for the input {described} of signature {name!r}")
        inputs = {}
        for key, info in signature.inputs.items():
            if key in arrays:
                try:
                    inputs[key] = _tensor(arrays[key], info.dtype)
                except ValueMisfit as error:
                    raise bad_requests(path, f"array {key!r} for signature {name!r}", str(error)) from error
        yield Question(methods.PREDICT, name, os.path.basename(path), inputs)


def _arrays(path: str) -> dict[str, Any]:
    numpy = _numpy()
    arrays: dict[str, Any] = {}
    key = ""
    try:
        with open(path, "rb") as opened, numpy.load(opened, allow_pickle=False) as archive:
            for key in archive.files:
                arrays[key] = archive[key]
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, MemoryError, NotImplementedError) as error:
        where = f"array {key!r}" if key else ""
        if "pickle" in str(error):
            raise bad_requests(path, where, "is an array of objects, which only unpickling could read") from error
        raise bad_requests(path, where, f"cannot be read: {error or type(error).__name__}".rstrip(".")) from error
    if not arrays:
        raise bad_requests(path, "", "holds no array")
    for key, array in arrays.items():
        if not isinstance(array, numpy.ndarray):
            raise bad_requests(path, f"array {key!r}", "is no array")
    return arrays


def _numpy() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError as error:
        raise InfrastructureError(
            ReasonCode.PLATFORM_NOT_INSTALLED,
            "A file of requests in .npz needs the package numpy.",
            next_step="pip install 'infra-validator[embedded]'",
        ) from error


def _tensor(array: Any, dtype: tf.DataType.ValueType) -> tf.TensorProto:
    """The tensor of an array. Whole numbers go where they fit, numbers with a fraction into floats; nothing else is converted."""
    shape, kind = list(array.shape), array.dtype.kind
    if dtype == tf.DT_STRING and kind in "SU":
        return tensor_of_values(dtype, shape, array.ravel().tolist())
    wanted = {
        **dict.fromkeys(FLOATS, "fiu"),
        **dict.fromkeys(INTEGERS, "iu"),
        tf.DT_BOOL: "b",
        tf.DT_COMPLEX64: "cfiu",
        tf.DT_COMPLEX128: "cfiu",
    }.get(dtype, "")
    if kind not in wanted:
        raise ValueMisfit(f"has the dtype {array.dtype}, which does not fit the input's dtype {name_of(dtype)}")
    if dtype in INTEGERS and array.size:
        lowest, highest = INTEGERS[dtype]
        if int(array.min()) < lowest or int(array.max()) > highest:
            raise ValueMisfit(f"holds numbers that do not fit {name_of(dtype)}, which holds {lowest} to {highest}")
    numpy = _numpy()
    with numpy.errstate(over="ignore"):
        content = array.astype(_NUMPY[dtype]).tobytes()
    if dtype == tf.DT_BFLOAT16:
        bits = numpy.frombuffer(content, "<u4").astype("<u8")
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # to nearest, ties to even
        is_nan = (bits & 0x7FFFFFFF) > 0x7F800000
        content = numpy.where(is_nan, 0x7FC0, rounded).astype("<u2").tobytes()
    return tensor_of_bytes(dtype, shape, content)
