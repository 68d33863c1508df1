"""Sample requests from the files of one split of an Examples artifact: TFRecords, gzipped or not. Needs no TFX."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence

from infra_validator.core.errors import ExamplesError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.sample_requests.examples.features import FeatureValues
from infra_validator.sample_requests.examples.parquet import rows_of_parquet
from infra_validator.sample_requests.examples.record_questions import (
    PARQUET,
    PAYLOAD_FORMATS,
    TF_EXAMPLE,
    RecordQuestions,
)
from infra_validator.sample_requests.questions.early import begun
from infra_validator.sample_requests.questions.question import Question
from infra_validator.sample_requests.questions.requests import requests_of
from infra_validator.sample_requests.questions.signature_inputs import Signatures
from infra_validator.sample_requests.records.tfrecord import OpenFile, TFRecordError, open_local, read_records
from infra_validator.specs.request_spec import RequestSpec


def requests_from_examples_dir(
    split_dir: str,
    signatures: Signatures,
    model_name: str,
    num_examples: int = 1,
    payload_format: str = TF_EXAMPLE,
    asked: RequestSpec | None = None,
) -> Iterator[SampleRequest]:
    """Requests of the first ``num_examples`` records in the directory of one split, one for each of ``signatures``.

    Records are taken in the order of file names (TFX shuffles them) and read as they are sent. All that can be known without reading
    on is raised by the call itself: the directory, the signatures, the first record.

    Args:
      split_dir: e.g. ``<uri>/Split-eval``; every file in it is a TFRecord, as TFX has it.
      signatures: the signatures to ask.
      model_name: the model's name on the server.
      num_examples: how many records at most; fewer are no error.
      payload_format: TFX's name of what a record is; empty if nobody knows.
      asked: how features become named inputs, batch sizes and protocols.

    Raises:
      ExamplesError: EXAMPLES_NOT_READABLE or NO_EXAMPLES; names the file and the record. While iterating, too.
      UsageError: a signature cannot be asked by records (SIGNATURE_NOT_SUPPORTED), or a record does not fit it (BAD_REQUESTS).
    """
    return requests_from_example_files(
        example_files(split_dir), signatures, model_name, num_examples, payload_format, asked, where=split_dir
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
    asked: RequestSpec | None = None,
    *,
    where: str,
    open_file: OpenFile = open_local,
) -> Iterator[SampleRequest]:
    """As requests_from_examples_dir, of files in the order given.

    Args:
      where: how messages call all of them together.
      open_file: opens one of ``files``; for file systems other than the machine's.
    """
    asked = asked or RequestSpec()

    def make() -> Iterator[Question]:
        return questions_of_example_files(
            files, signatures, num_examples, payload_format, asked, where=where, open_file=open_file
        )

    requests = begun(requests_of(make, signatures, model_name, asked))
    if requests is None:
        raise ExamplesError(ReasonCode.NO_EXAMPLES, f"{where}: {len(files)} files hold no record.")
    return requests


def questions_of_example_files(
    files: Sequence[str],
    signatures: Signatures,
    num_examples: int,
    payload_format: str,
    asked: RequestSpec,
    *,
    where: str,
    open_file: OpenFile = open_local,
) -> Iterator[Question]:
    """One question of each record for each signature; see requests_from_example_files."""
    if payload_format not in PAYLOAD_FORMATS:
        raise ExamplesError(
            ReasonCode.EXAMPLES_NOT_READABLE,
            f"The examples have the payload format {payload_format}, of which no requests can be made.",
            next_step="Give examples of FORMAT_TF_EXAMPLE, or requests in a file (--requests).",
        )
    makers = [RecordQuestions(name, signature, payload_format, asked) for name, signature in signatures.items()]
    if not files:
        raise ExamplesError(ReasonCode.NO_EXAMPLES, f"{where} holds no files.")
    kind = "row" if payload_format == PARQUET else "record"
    taken = 0
    for file in files:
        name = os.path.basename(file)
        records: Iterable[bytes | dict[str, FeatureValues]] = (
            rows_of_parquet(file, open_file) if payload_format == PARQUET else _records(file, open_file)
        )
        for number, record in enumerate(records, 1):
            label, where = f"{kind} {number} of {name}", f"{file}, {kind} {number}"
            for maker in makers:
                if isinstance(record, bytes):
                    yield maker.of_record(record, label, where)
                else:
                    yield maker.of_features(record, label, where)
            taken += 1
            if taken >= num_examples:
                return


def _records(file: str, open_file: OpenFile) -> Iterator[bytes]:
    try:
        yield from read_records(file, open_file)
    except TFRecordError as error:
        raise ExamplesError(ReasonCode.EXAMPLES_NOT_READABLE, f"{error}.") from error
