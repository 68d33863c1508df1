"""Sample requests from a file that the caller names (--requests): JSON, .npz, or a TFRecord of PredictionLog or tf.Example.

JSON and TFRecords may be gzipped. What a file is, is seen from its content.
"""

from __future__ import annotations

import enum
import functools
import gzip
import os
import sys
import zlib
from collections.abc import Iterator, Sequence

from infra_validator.core.errors import ExamplesError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.sample_requests.files.json_requests import bad_requests, questions_of_json
from infra_validator.sample_requests.questions.early import begun
from infra_validator.sample_requests.questions.question import Question
from infra_validator.sample_requests.questions.requests import requests_of
from infra_validator.sample_requests.questions.signature_inputs import Signatures
from infra_validator.sample_requests.records.tfrecord import (
    HEADER_BYTES,
    TFRecordError,
    decompressed,
    length_of,
    open_local,
    read_records,
)
from infra_validator.saved_model.graph import signature_not_found
from infra_validator.specs.request_spec import RequestSpec

_ZIPS = (b"PK\x03\x04", b"PK\x05\x06")
_TFRECORD_NAMES = ("tfrecord", "tf_serving_warmup_requests")
_BEGINNINGS_OF_JSON = b'{["-0123456789tfnNI'


def requests_from_file(
    path: str,
    signatures: Signatures,
    model_name: str,
    names: Sequence[str] = ("serving_default",),
    asked: RequestSpec | None = None,
) -> Iterator[SampleRequest]:
    """The requests in a file, in its order, read as they are sent.

    The call itself looks at the file and makes the first request; a later line or record that is wrong raises when it is reached.

    Args:
      path: the file.
      signatures: all signatures of the model; a request may name any.
      model_name: the model's name on the server.
      names: the signatures that are asked by what names none: each of them.
      asked: batch sizes, protocols, and how the features of tf.Examples become named inputs.

    Raises:
      UsageError: BAD_REQUESTS; names the line, record or array. While iterating, too.
        SIGNATURE_NOT_SUPPORTED: the file holds tf.Examples, which do not fit the signature.
      AttemptFailed: a request asks for a signature that the model lacks (SIGNATURE_NOT_FOUND).
    """
    asked = asked or RequestSpec()
    make = functools.partial(_questions, path, signatures, names, asked)
    requests = begun(requests_of(make, signatures, model_name, asked))
    if requests is None:
        raise bad_requests(path, "", "holds no request")
    return requests


def holds_examples(path: str) -> bool:
    """Whether the file is a TFRecord of tf.Example, whose features become inputs."""
    try:
        return _kind_of(path) is _Kind.TFRECORD and _first_is_example(path)
    except (OSError, EOFError, ValueError, zlib.error, UsageError):
        return False  # reading it tells why


class _Kind(enum.Enum):
    JSON = enum.auto()
    TFRECORD = enum.auto()
    NPZ = enum.auto()


def _questions(path: str, signatures: Signatures, names: Sequence[str], asked: RequestSpec) -> Iterator[Question]:
    return _readable(path, _questions_of_its_kind(path, signatures, names, asked))


def _questions_of_its_kind(
    path: str, signatures: Signatures, names: Sequence[str], asked: RequestSpec
) -> Iterator[Question]:
    kind = _kind_of(path)  # each kind's reader is imported where it is needed: most files are JSON
    if kind is _Kind.NPZ:
        from infra_validator.sample_requests.files.npz import questions_of_npz

        yield from questions_of_npz(path, signatures, names)
    elif kind is _Kind.JSON:
        yield from questions_of_json(path, signatures, names)
    elif _first_is_example(path):
        yield from _questions_of_examples(path, signatures, names, asked)
    else:
        from infra_validator.sample_requests.files.prediction_log import questions_of_prediction_logs

        yield from questions_of_prediction_logs(path, signatures, names)


def _questions_of_examples(
    path: str, signatures: Signatures, names: Sequence[str], asked: RequestSpec
) -> Iterator[Question]:
    for name in names:
        if name not in signatures:
            raise signature_not_found(name, signatures, "The model")
    named = {name: signatures[name] for name in names}
    try:
        from infra_validator.sample_requests.examples.example_files import questions_of_example_files
        from infra_validator.sample_requests.examples.record_questions import TF_EXAMPLE

        yield from questions_of_example_files([path], named, sys.maxsize, TF_EXAMPLE, asked, where=path)
    except ExamplesError as error:
        raise UsageError(error.detail, reason=ReasonCode.BAD_REQUESTS) from error


def _readable(path: str, questions: Iterator[Question]) -> Iterator[Question]:
    """``questions``, with the operating system's and gzip's errors made into ours."""
    try:
        yield from questions
    except EOFError as error:
        raise bad_requests(path, "", "the gzip data is cut off") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise bad_requests(path, "", f"the gzip data is damaged: {error}") from error
    except (OSError, ValueError) as error:
        raise bad_requests(path, "", getattr(error, "strerror", None) or str(error)) from error


def _kind_of(path: str) -> _Kind:
    with open_local(path) as opened:
        if not opened.seekable():
            raise bad_requests(path, "", "is a pipe; it is read more than once, so give a file")
        beginning = decompressed(opened).read(HEADER_BYTES)
    if not beginning:
        raise bad_requests(path, "", "is empty")
    if beginning.startswith(_ZIPS):
        return _Kind.NPZ
    if len(beginning) == HEADER_BYTES and length_of(beginning) is not None:
        return _Kind.TFRECORD
    if any(name in os.path.basename(path) for name in _TFRECORD_NAMES):
        return _Kind.TFRECORD
    if beginning.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in [bytes([byte]) for byte in _BEGINNINGS_OF_JSON]:
        return _Kind.JSON
    if not beginning.strip():
        return _Kind.JSON  # blank lines, perhaps with JSON after them
    raise bad_requests(
        path, "", "is neither JSON nor .npz nor a TFRecord (the checksum of the first record's length is wrong)"
    )


def _first_is_example(path: str) -> bool:
    """Whether the first record is a tf.Example. It tells: an Example has field 1 only, a log of any use has another."""
    from infra_validator.sample_requests.examples.features import NotAnExampleError, example_of_record

    try:
        first = next(read_records(path), b"")
        if first:
            example_of_record(first)
    except (TFRecordError, NotAnExampleError):
        return False
    return bool(first)
