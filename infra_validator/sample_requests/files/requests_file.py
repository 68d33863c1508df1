"""Sample requests from a file that the caller names (--requests): JSON, or a TFRecord of PredictionLog or tf.Example; gzipped or not."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Iterator

from infra_validator.core.errors import ExamplesError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.sample_requests.early import begun
from infra_validator.sample_requests.examples.example_files import Signatures, requests_from_example_files
from infra_validator.sample_requests.files.json_requests import bad_requests, requests_from_json
from infra_validator.sample_requests.files.prediction_log import requests_from_prediction_logs
from infra_validator.sample_requests.files.tfrecord import (
    HEADER_BYTES,
    TFRecordError,
    decompressed,
    length_of,
    open_local,
    read_records,
)
from infra_validator.sample_requests.signature_request import why_no_example
from infra_validator.saved_model.graph import signature_not_found

_TFRECORD_NAMES = ("tfrecord", "tf_serving_warmup_requests")
_BEGINNINGS_OF_JSON = b'{["-0123456789tfnNI'


def requests_from_file(
    path: str, signatures: Signatures, model_name: str, default_signature: str = "serving_default"
) -> Iterator[SampleRequest]:
    """The requests in a file, in its order, read as they are sent.

    The call itself looks at the file and makes the first request; a later line or record that is wrong is told when it is reached.

    Args:
      signatures: all signatures of the model; a request may name any.
      model_name: the model's name on the server.
      default_signature: the one for JSON requests that name none, and for tf.Examples.

    Raises:
      UsageError: BAD_REQUESTS; names the line or record. While iterating, too.
        SIGNATURE_NOT_SUPPORTED: the file holds tf.Examples, which do not fit the signature.
      AttemptFailed: a request asks for a signature that the model lacks (SIGNATURE_NOT_FOUND).
    """
    requests = begun(_readable(path, _requests(path, signatures, model_name, default_signature)))
    if requests is None:
        raise bad_requests(path, "", "holds no request")
    return requests


def _requests(path: str, signatures: Signatures, model_name: str, default_signature: str) -> Iterator[SampleRequest]:
    if not _is_tfrecord(path):
        yield from requests_from_json(path, signatures, model_name, default_signature)
    elif _holds_examples(path):
        yield from _requests_of_examples(path, signatures, model_name, default_signature)
    else:
        yield from requests_from_prediction_logs(path, signatures, model_name)


def _requests_of_examples(path: str, signatures: Signatures, model_name: str, name: str) -> Iterator[SampleRequest]:
    if name not in signatures:
        raise signature_not_found(name, signatures, "The model")
    try:
        yield from requests_from_example_files([path], {name: signatures[name]}, model_name, sys.maxsize, where=path)
    except ExamplesError as error:
        raise UsageError(error.detail, reason=ReasonCode.BAD_REQUESTS) from error


def _readable(path: str, requests: Iterator[SampleRequest]) -> Iterator[SampleRequest]:
    """``requests``, with the operating system's and gzip's errors made into ours."""
    try:
        yield from requests
    except EOFError as error:
        raise bad_requests(path, "", "the gzip data is cut off") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise bad_requests(path, "", f"the gzip data is damaged: {error}") from error
    except (OSError, ValueError) as error:
        raise bad_requests(path, "", getattr(error, "strerror", None) or str(error)) from error


def _is_tfrecord(path: str) -> bool:
    with open_local(path) as opened:
        if not opened.seekable():
            raise bad_requests(path, "", "is a pipe; it is read more than once, so give a file")
        beginning = decompressed(opened).read(HEADER_BYTES)
    if not beginning:
        raise bad_requests(path, "", "is empty")
    if len(beginning) == HEADER_BYTES and length_of(beginning) is not None:
        return True
    if any(name in os.path.basename(path) for name in _TFRECORD_NAMES):
        return True
    if beginning.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in [bytes([byte]) for byte in _BEGINNINGS_OF_JSON]:
        return False
    if not beginning.strip():
        return False  # blank lines, perhaps with JSON after them
    raise bad_requests(path, "", "is neither JSON nor a TFRecord (the checksum of the first record's length is wrong)")


def _holds_examples(path: str) -> bool:
    """Whether the first record is a tf.Example. It tells: an Example has field 1 only, a log of any use has another."""
    try:
        first = next(read_records(path), b"")
    except TFRecordError:
        return False
    return bool(first) and not why_no_example(first)
