"""Sample requests from a TFX Examples artifact: which split, which files, which payload format.

The artifact object is asked through its attributes; TFX is imported only to reach remote file systems.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Sequence
from typing import IO, Protocol

from infra_validator.core.errors import ExamplesError, SpecError, did_you_mean
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.sample_requests.examples.example_files import (
    example_files,
    requests_from_example_files,
)
from infra_validator.sample_requests.examples.record_questions import PARQUET
from infra_validator.sample_requests.questions.signature_inputs import Signatures
from infra_validator.sample_requests.records.tfrecord import OpenFile, open_local
from infra_validator.specs.request_spec import RequestSpec

# TFX's names of custom properties of Examples artifacts.
_PAYLOAD_FORMAT = "payload_format"
_FILE_FORMAT = "file_format"
_SPLIT_PATTERN = "custom_split_pattern"

# TFX's names of file formats.
_TFRECORD = "tfrecords_gzip"
_PARQUET = "parquet"


class ExamplesArtifact(Protocol):
    """As much of a TFX ``standard_artifacts.Examples`` as is asked of one."""

    uri: str
    split_names: str

    def has_custom_property(self, key: str) -> bool:
        """Whether the artifact has a custom property."""

    def get_string_custom_property(self, key: str) -> str:
        """The text of a custom property."""


def requests_from_examples_artifact(
    examples: ExamplesArtifact, signatures: Signatures, model_name: str, request_spec: RequestSpec
) -> Iterator[SampleRequest]:
    """Requests of an Examples artifact, as ``request_spec`` says; see from_examples for how they are made and when errors come.

    Args:
      examples: a TFX ``standard_artifacts.Examples``.
      signatures: the signatures to ask.
      model_name: the model's name on the server.
      request_spec: split_name (empty: the artifact's first) and num_examples.

    Raises:
      SpecError: the artifact has no such split; names those it has.
      ExamplesError: EXAMPLES_NOT_READABLE or NO_EXAMPLES.
      UsageError: SIGNATURE_NOT_SUPPORTED.
    """
    file_format = _custom_property(examples, _FILE_FORMAT) or _TFRECORD
    if file_format not in (_TFRECORD, _PARQUET):
        raise ExamplesError(
            ReasonCode.EXAMPLES_NOT_READABLE,
            f"The Examples artifact at {examples.uri} has the file format {file_format}; {_TFRECORD} and {_PARQUET} can be read.",
        )
    payload_format = PARQUET if file_format == _PARQUET else _custom_property(examples, _PAYLOAD_FORMAT)
    split = choose_split(split_names_of(examples), request_spec.split_name, examples.uri)
    files, open_file = _files(examples, split)
    return requests_from_example_files(
        files,
        signatures,
        model_name,
        request_spec.num_examples,
        payload_format,
        request_spec,
        where=f"Split {split!r} of {examples.uri}",
        open_file=open_file,
    )


def split_names_of(examples: ExamplesArtifact) -> list[str]:
    """The artifact's splits in its own order; the artifact keeps them as a JSON list."""
    try:
        names = json.loads(examples.split_names or "[]")
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ExamplesError(
            ReasonCode.EXAMPLES_NOT_READABLE,
            f"The Examples artifact at {examples.uri} has split names that are no JSON list: {examples.split_names!r}.",
        )
    return names


def choose_split(known: Sequence[str], wanted: str, uri: str) -> str:
    """``wanted``, or the first of ``known`` if it is empty.

    Raises:
      SpecError: there is no such split; names the known ones.
      ExamplesError: there are no splits (NO_EXAMPLES).
    """
    if not known:
        raise ExamplesError(ReasonCode.NO_EXAMPLES, f"The Examples artifact at {uri} has no splits.")
    if not wanted:
        return known[0]
    if wanted not in known:
        hint = did_you_mean(wanted, known)
        problem = f"the Examples artifact at {uri} has no split {wanted!r}; it has: {', '.join(known)}.{hint}"
        raise SpecError("request_spec.split_name", problem, next_step="Name one of these splits.")
    return wanted


def _custom_property(examples: ExamplesArtifact, name: str) -> str:
    return str(examples.get_string_custom_property(name)) if examples.has_custom_property(name) else ""


def _files(examples: ExamplesArtifact, split: str) -> tuple[list[str], OpenFile]:
    patterns = json.loads(_custom_property(examples, _SPLIT_PATTERN) or "{}")
    if "://" in examples.uri:
        return _remote_files(os.path.join(examples.uri, patterns.get(split, f"Split-{split}/*")))
    if split in patterns:
        return sorted(glob.glob(os.path.join(examples.uri, patterns[split]))), open_local
    split_dir = os.path.join(examples.uri, f"Split-{split}")
    before_tfx_1 = os.path.join(examples.uri, split)
    if os.path.isdir(before_tfx_1) and not os.path.isdir(split_dir):
        split_dir = before_tfx_1
    return example_files(split_dir), open_local


def _remote_files(pattern: str) -> tuple[list[str], OpenFile]:
    from tfx.dsl.io import fileio

    def open_remote(path: str) -> IO[bytes]:
        try:
            opened: IO[bytes] = fileio.open(path, "rb")
        except Exception as error:  # each file system has errors of its own
            raise OSError(f"cannot be opened: {error}") from error
        return opened

    try:
        return sorted(str(path) for path in fileio.glob(pattern)), open_remote
    except Exception as error:
        raise ExamplesError(ReasonCode.EXAMPLES_NOT_READABLE, f"{pattern} cannot be listed: {error}.") from error
