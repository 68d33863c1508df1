"""TFX artifacts made by hand: what the Trainer and the ExampleGen would hand to the executor. Imports TFX when called."""

from __future__ import annotations

import gzip
import io
import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from infra_validator.protos import tensorflow_pb2
from infra_validator.sample_requests.records.tfrecord import write_records


def model_artifact(directory: pathlib.Path, saved_model: pathlib.Path) -> Any:
    """A Model artifact in ``directory`` with a copy of a SavedModel."""
    from tfx.types import standard_artifacts

    shutil.copytree(saved_model, directory / "Format-Serving")
    return at(standard_artifacts.Model(), directory)


def examples_artifact(
    directory: pathlib.Path,
    values: Sequence[float | Mapping[str, Sequence[float]]],
    splits: Sequence[str] = ("train", "eval"),
) -> Any:
    """An Examples artifact whose splits hold one tf.Example for each value: its float features, or the one feature ``x``."""
    from tfx.types import standard_artifacts

    artifact = at(standard_artifacts.Examples(), directory)
    artifact.split_names = json.dumps(list(splits))
    for split in splits:
        folder = directory / f"Split-{split}"
        folder.mkdir(parents=True)
        records = io.BytesIO()
        write_records((example(value) for value in values), records)
        (folder / "examples-00000-of-00001.gz").write_bytes(gzip.compress(records.getvalue()))
    return artifact


def example(value: float | Mapping[str, Sequence[float]]) -> bytes:
    """A serialized tf.Example with the float features of ``value``, or with the feature ``x`` of one value."""
    message = tensorflow_pb2.Example()
    for name, values in (value if isinstance(value, Mapping) else {"x": [value]}).items():
        message.features.feature[name].float_list.value.extend(values)
    return message.SerializeToString()


def blessing_artifact(directory: pathlib.Path) -> Any:
    """An empty InfraBlessing artifact."""
    from tfx.types import standard_artifacts

    directory.mkdir(parents=True, exist_ok=True)
    return at(standard_artifacts.InfraBlessing(), directory)


def at(artifact: Any, directory: pathlib.Path) -> Any:
    artifact.uri = str(directory)
    return artifact
