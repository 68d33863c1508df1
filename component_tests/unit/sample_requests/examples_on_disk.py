"""Splits of Examples artifacts, written for a test."""

from __future__ import annotations

import gzip
import io
import pathlib
from collections.abc import Sequence

from infra_validator.protos import tensorflow_pb2
from infra_validator.sample_requests.records.tfrecord import write_records


def example(x: float) -> bytes:
    """A serialized tf.Example."""
    made = tensorflow_pb2.Example()
    made.features.feature["x"].float_list.value.append(x)
    return made.SerializeToString()


def tfrecord(records: Sequence[bytes]) -> bytes:
    """The bytes of a TFRecord file."""
    file = io.BytesIO()
    write_records(records, file)
    return file.getvalue()


def write_split(folder: pathlib.Path, *files: Sequence[bytes]) -> str:
    """A split's directory with one gzipped TFRecord for each of ``files``, named as TFX names them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, records in enumerate(files):
        name = f"data_tfrecord-{number:05}-of-{len(files):05}.gz"
        (folder / name).write_bytes(gzip.compress(tfrecord(records)))
    return str(folder)


def signature(
    method: str, **inputs: tuple[tensorflow_pb2.DataType.ValueType, Sequence[int]]
) -> tensorflow_pb2.SignatureDef:
    """A signature; ``method`` is predict, classify or regress; inputs are (dtype, shape)."""
    made = tensorflow_pb2.SignatureDef(method_name=f"tensorflow/serving/{method}")
    for key, (dtype, shape) in inputs.items():
        made.inputs[key].dtype = dtype
        for size in shape:
            made.inputs[key].tensor_shape.dim.add().size = size
    return made
