"""Sample requests from the files of one split of an Examples artifact: TFRecords, gzipped or not. Needs no TFX."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from infra_validator.core.errors import ExamplesError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2
from infra_validator.sample_requests.early import begun
from infra_validator.sample_requests.files.tfrecord import OpenFile, TFRecordError, open_local, read_records
from infra_validator.sample_requests.signature_request import RequestMaker, request_maker, why_no_example

Signatures = Mapping[str, tensorflow_pb2.SignatureDef]

TF_EXAMPLE = "FORMAT_TF_EXAMPLE"  # TFX's name of the payload format

#: Payload formats whose records are no tf.Example but still one serialized message each: a predict signature may parse them.
_OTHER_RECORDS = ("FORMAT_TF_SEQUENCE_EXAMPLE", "FORMAT_PROTO")


def requests_from_examples_dir(
    split_dir: str,
    signatures: Signatures,
    model_name: str,
    num_examples: int = 1,
    payload_format: str = TF_EXAMPLE,
) -> Iterator[SampleRequest]:
    """Requests of the first ``num_examples`` records in the directory of one split, one for each of ``signatures``.

    Records are taken in the order of file names (TFX shuffles them) and read as they are sent. All that can be told without reading
    on is told by the call itself: the directory, the signatures, the first record.

    Args:
      split_dir: e.g. ``<uri>/Split-eval``; every file in it is a TFRecord, as TFX has it.
      signatures: the signatures to ask.
      model_name: the model's name on the server.
      num_examples: how many records at most; fewer are no error.
      payload_format: TFX's name of what a record is.

    Raises:
      ExamplesError: EXAMPLES_NOT_READABLE or NO_EXAMPLES; names the file and the record. While iterating, too.
      UsageError: a signature or the payload format cannot be served (SIGNATURE_NOT_SUPPORTED).
    """
    return requests_from_example_files(
        example_files(split_dir), signatures, model_name, num_examples, payload_format, where=split_dir
    )


def example_files(split_dir: str) -> list[str]:
    """The files of a split in the order of their names; hidden ones and directories left out, as by TFX's pattern ``*``."""
    try:
        with os.scandir(split_dir) as entries:
            return sorted(entry.path for entry in entries if not entry.name.startswith(".") and not entry.is_dir())
    except OSError as error:
        missing = "The split's directory does not exist" if error.errno == errno.ENOENT else error.strerror
        raise ExamplesError(ReasonCode.EXAMPLES_NOT_READABLE, f"{split_dir}: {missing}.") from error


def requests_from_example_files(
    files: Sequence[str],
    signatures: Signatures,
    model_name: str,
    num_examples: int,
    payload_format: str = TF_EXAMPLE,
    *,
    where: str,
    open_file: OpenFile = open_local,
) -> Iterator[SampleRequest]:
    """As requests_from_examples_dir, of files in the order given.

    Args:
      where: how messages call all of them together.
      open_file: opens one of ``files``; for file systems other than the machine's.
    """
    makers = _makers(signatures, model_name, payload_format)
    if not files:
        raise ExamplesError(ReasonCode.NO_EXAMPLES, f"{where} holds no files.")
    requests = begun(_requests(files, makers, num_examples, payload_format == TF_EXAMPLE, open_file))
    if requests is None:
        raise ExamplesError(ReasonCode.NO_EXAMPLES, f"{where}: {len(files)} files hold no record.")
    return requests


def _makers(signatures: Signatures, model_name: str, payload_format: str) -> list[RequestMaker]:
    if payload_format != TF_EXAMPLE and payload_format not in _OTHER_RECORDS:
        raise ExamplesError(
            ReasonCode.EXAMPLES_NOT_READABLE,
            f"The examples have the payload format {payload_format}, of which no requests can be made.",
            next_step="Give examples of FORMAT_TF_EXAMPLE, or requests in a file (--requests).",
        )
    makers = []
    for name, signature in signatures.items():
        makers.append(request_maker(name, signature, model_name))
        if payload_format != TF_EXAMPLE and not signature.method_name.endswith("/predict"):
            raise ExamplesError(
                ReasonCode.EXAMPLES_NOT_READABLE,
                f"Signature {name!r} ({signature.method_name}) takes tf.Example, but the examples have the payload format "
                f"{payload_format}.",
                next_step="Give examples of FORMAT_TF_EXAMPLE, or name a predict signature.",
            )
    return makers


def _requests(
    files: Iterable[str], makers: list[RequestMaker], limit: int, must_be_examples: bool, open_file: OpenFile
) -> Iterator[SampleRequest]:
    taken = 0
    for file in files:
        name = os.path.basename(file)
        for number, record in enumerate(_records(file, open_file), 1):
            problem = why_no_example(record) if must_be_examples else ""
            if problem:
                raise ExamplesError(ReasonCode.EXAMPLES_NOT_READABLE, f"{file}, record {number}: {problem}.")
            for make in makers:
                yield make(record, f"record {number} of {name}")
            taken += 1
            if taken >= limit:
                return


def _records(file: str, open_file: OpenFile) -> Iterator[bytes]:
    try:
        yield from read_records(file, open_file)
    except TFRecordError as error:
        raise ExamplesError(ReasonCode.EXAMPLES_NOT_READABLE, f"{error}.") from error
