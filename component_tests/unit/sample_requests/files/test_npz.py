"""NumPy archives as files of requests; nothing in them is ever unpickled."""

from __future__ import annotations

import io
import pathlib
import zipfile
from typing import Any

import numpy
import pytest

from component_tests.unit.sample_requests.examples_on_disk import signature
from infra_validator.core.errors import AttemptFailed, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.files.requests_file import requests_from_file
from infra_validator.sample_requests.questions.tensor_values import shape_of, values_of
from infra_validator.specs import RequestSpec

DTYPES = {
    "float": tf.DT_FLOAT,
    "half": tf.DT_HALF,
    "bfloat16": tf.DT_BFLOAT16,
    "int32": tf.DT_INT32,
    "uint8": tf.DT_UINT8,
    "bool": tf.DT_BOOL,
    "string": tf.DT_STRING,
}
SIGNATURES = {name: signature("predict", x=(dtype, [-1])) for name, dtype in DTYPES.items()} | {
    "two": signature("predict", a=(tf.DT_FLOAT, [-1]), b=(tf.DT_INT64, [-1])),
    "classify": signature("classify", inputs=(tf.DT_STRING, [-1])),
}


def read(file: pathlib.Path, *names: str, **arrays: Any) -> list[SampleRequest]:
    numpy.savez(file, **arrays)
    return list(requests_from_file(str(file), SIGNATURES, "m", names))


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "f.npz"


@pytest.mark.parametrize(
    ("name", "array", "values"),
    [
        ("float", [1.5, 2], [1.5, 2]),
        ("float", numpy.array([1, 2], ">i4"), [1, 2]),
        ("half", [0.5], [0.5]),
        ("bfloat16", [1.0, 1.005859375, float("inf")], [1.0, 1.0078125, float("inf")]),
        ("int32", numpy.array([-1], "i8"), [-1]),
        ("uint8", numpy.array([255], "u1"), [255]),
        ("bool", [True, False], [True, False]),
        ("string", ["ä", "b"], ["ä".encode(), b"b"]),
        ("string", [b"a\xff"], [b"a\xff"]),
    ],
)
def test_an_array_becomes_the_input_of_its_name(file: pathlib.Path, name: str, array: Any, values: list[Any]) -> None:
    (request,) = read(file, name, x=array)
    tensor = serving_pb2.PredictRequest.FromString(request.payload).inputs["x"]
    assert (tensor.dtype, shape_of(tensor), values_of(tensor)) == (DTYPES[name], [len(values)], values)
    assert (request.rows, request.label, request.signature) == (len(values), "f.npz", name)


def test_all_arrays_are_one_request_and_cut_into_rows_where_batch_sizes_are_given(file: pathlib.Path) -> None:
    (request,) = read(file, "two", a=[1.0, 2.0], b=[3, 4])
    assert request.rows == 2
    rows = requests_from_file(str(file), SIGNATURES, "m", ["two"], RequestSpec.of({"batch_sizes": [1]}))
    assert [row.label for row in rows] == ["row 1 of f.npz", "row 2 of f.npz"]


@pytest.mark.parametrize(
    ("names", "arrays", "said"),
    [
        (["two"], {"a": [1.0]}, r"no array for the input b \(int64, shape \[-1\]\) of signature 'two'"),
        (["two"], {"a": [1.0], "b": [1], "bb": [1]}, r"array 'bb': is no input; there are: a, b\. Did you mean 'b'\?"),
        (
            ["int32"],
            {"x": [1.5]},
            "array 'x' for signature 'int32': has the dtype float64, which does not fit .* int32",
        ),
        (["uint8"], {"x": [256]}, "do not fit uint8, which holds 0 to 255"),
        (["bool"], {"x": [1]}, "dtype int64"),
        (["string"], {"x": [1]}, "dtype int64"),
        (["float"], {"x": [{"an": "object"}]}, "array 'x': is an array of objects, which only unpickling could read"),
        (["classify"], {"inputs": [b"x"]}, "takes tf.Example"),
        (["float"], {}, "holds no array"),
    ],
)
def test_arrays_that_do_not_fit_are_told(
    file: pathlib.Path, names: list[str], arrays: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        read(file, *names, **arrays)
    assert caught.value.reason is ReasonCode.BAD_REQUESTS


def test_an_unknown_signature_is_told(file: pathlib.Path) -> None:
    with pytest.raises(AttemptFailed, match="no signature 'gone'") as caught:
        read(file, "gone", x=[1.0])
    assert caught.value.reason is ReasonCode.SIGNATURE_NOT_FOUND


def huge_header() -> bytes:
    array = io.BytesIO()
    numpy_format: Any = numpy.lib.format
    numpy_format.write_array_header_1_0(array, {"descr": "<f8", "fortran_order": False, "shape": (2**50,)})
    return array.getvalue()


@pytest.mark.parametrize("member", [b"", b"\x93NUMPY", b"no array", huge_header()])
def test_a_damaged_archive_is_told(file: pathlib.Path, member: bytes) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", member)
    with pytest.raises(UsageError, match=r"f\.npz") as caught:
        list(requests_from_file(str(file), SIGNATURES, "m", ["float"]))
    assert caught.value.reason is ReasonCode.BAD_REQUESTS
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(UsageError, match=r"f\.npz"):
        list(requests_from_file(str(file), SIGNATURES, "m", ["float"]))
