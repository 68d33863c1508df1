"""The rows of Parquet files, which TFX's ExampleGen can write in place of TFRecords; read by pyarrow, which TFX brings."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from infra_validator.core.errors import ExamplesError, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.sample_requests.examples.features import FeatureValues, NotAnExampleError
from infra_validator.sample_requests.records.tfrecord import OpenFile

_ROWS_AT_ONCE = 64

#: The kinds of feature that Python's values are. Booleans are numbers there, as in tf.Example.
_KINDS = {bytes: "bytes", str: "bytes", int: "int64", bool: "int64", float: "float"}


def rows_of_parquet(file: str, open_file: OpenFile) -> Iterator[dict[str, FeatureValues]]:
    """The features of every row of a file, some rows at a time in memory.

    Raises:
      ExamplesError: it is no Parquet file that can be read, or a column has values that no feature has (EXAMPLES_NOT_READABLE).
      InfrastructureError: pyarrow is not installed.
    """
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
        arrow: Any = importlib.import_module("pyarrow")
    except ImportError as error:
        raise InfrastructureError(
            ReasonCode.PLATFORM_NOT_INSTALLED,
            "Examples in Parquet need the package pyarrow, which TFX brings.",
            next_step="pip install 'infra-validator[tfx]'",
        ) from error
    number = 0
    try:
        with open_file(file) as opened:
            for batch in parquet.ParquetFile(opened).iter_batches(batch_size=_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield {name: _values(name, value) for name, value in row.items()}
    except (arrow.ArrowException, OSError) as error:
        raise ExamplesError(ReasonCode.EXAMPLES_NOT_READABLE, f"{file}: {error}.") from error
    except NotAnExampleError as error:
        raise ExamplesError(ReasonCode.EXAMPLES_NOT_READABLE, f"{file}, row {number}: {error}.") from error


def _values(name: str, value: object) -> FeatureValues:
    given: list[object] = value if isinstance(value, list) else [] if value is None else [value]
    steps = [step for step in given if isinstance(step, list)]
    if steps and len(steps) == len(given):
        return _flat(name, [scalar for step in steps for scalar in step], tuple(map(len, steps)))
    return _flat(name, given, None)


def _flat(name: str, values: list[object], lengths: tuple[int, ...] | None) -> FeatureValues:
    kinds = {_KINDS.get(type(value), "") for value in values}
    if "" in kinds or len(kinds) > 1:
        raise NotAnExampleError(
            f"the column {name!r} holds something other than strings, bytes, numbers and lists of them"
        )
    plain = [
        value.encode() if isinstance(value, str) else int(value) if isinstance(value, bool) else value
        for value in values
    ]
    return FeatureValues(kinds.pop() if kinds else "", plain, lengths)
