"""Sample requests from and to TFRecords of tensorflow.serving.PredictionLog, the format of warm-up files and request logs."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf import message

from infra_validator.core.errors import InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.wire import WireError, field_numbers, length_field
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.files.json_requests import bad_requests
from infra_validator.sample_requests.questions import methods
from infra_validator.sample_requests.questions.question import Question, question_of
from infra_validator.sample_requests.questions.signature_inputs import Signatures
from infra_validator.sample_requests.records.tfrecord import TFRecordError, read_records, write_records
from infra_validator.saved_model.graph import signature_not_found

#: TensorFlow Serving refuses a model whose warm-up file has more records.
MOST_WARMUP_RECORDS = 1000

#: The kinds of log whose request a server answers: field of PredictionLog -> method.
_KINDS = {
    "predict_log": methods.PREDICT,
    "classify_log": methods.CLASSIFY,
    "regress_log": methods.REGRESS,
    "multi_inference_log": methods.MULTI_INFERENCE,
}
_REQUEST_FIELD = 1  # of each of these logs
_FIELDS = {method: serving_pb2.PredictionLog.DESCRIPTOR.fields_by_name[kind].number for kind, method in _KINDS.items()}

#: The largest request, in bytes, whose record protobuf still reads: a PredictionLog is a few bytes more.
LARGEST_REQUEST = (1 << 31) - 1 - 32
_DEFAULT_SIGNATURE = "serving_default"  # what a server takes an empty signature name for


def questions_of_prediction_logs(path: str, signatures: Signatures, names: Sequence[str]) -> Iterator[Question]:
    """The question of every record, for the model under test (its name replaced, version and label taken away).

    What names no signature asks each of ``names``.

    Raises:
      UsageError: BAD_REQUESTS; names the record.
      AttemptFailed: a request asks for a signature that the model lacks (SIGNATURE_NOT_FOUND).
    """
    number = 0
    try:
        for number, record in enumerate(read_records(path), 1):
            yield from _questions_of(record, path, number, signatures, names)
    except TFRecordError as error:
        raise bad_requests(path, f"record {error.record}", error.problem) from error


def _questions_of(
    record: bytes, path: str, number: int, signatures: Signatures, names: Sequence[str]
) -> Iterator[Question]:
    where = f"record {number}"
    label = f"{where} of {os.path.basename(path)}"
    log = serving_pb2.PredictionLog()
    try:
        field_numbers(record)
        log.ParseFromString(record)
    except (message.DecodeError, WireError) as error:
        raise bad_requests(path, where, "is no PredictionLog") from error
    kind = log.WhichOneof("log_type")
    if kind is None:
        raise bad_requests(path, where, "is no PredictionLog, or one without a request")
    if kind not in _KINDS:
        raise bad_requests(path, where, f"is a {kind}, which model servers do not answer")
    if kind == "multi_inference_log":
        yield _multi_inference(log.multi_inference_log.request, label, signatures)
        return
    request = getattr(log, kind).request
    asked = question_of(SampleRequest(_KINDS[kind], "", request.SerializeToString(), label))
    if asked is None:
        raise bad_requests(path, where, "is no PredictionLog")
    named = request.model_spec.signature_name
    for name in [named] if named else names:
        if name not in signatures:
            raise signature_not_found(name, signatures, f"The model, asked by {label},")
        yield dataclasses.replace(asked, signature=name)


def _multi_inference(request: serving_pb2.MultiInferenceRequest, label: str, signatures: Signatures) -> Question:
    names = []
    for task in request.tasks:
        spec = task.model_spec
        name = spec.signature_name or _DEFAULT_SIGNATURE
        if name not in signatures:
            raise signature_not_found(name, signatures, f"The model, asked by {label},")
        spec.ClearField("version_choice")
        names.append(name)
    return Question(methods.MULTI_INFERENCE, ", ".join(names), label, payload=request.SerializeToString())


def write_warmup_file(requests: Iterable[SampleRequest], path: str) -> int:
    """Write requests as a warm-up file; returns how many were written, at most MOST_WARMUP_RECORDS.

    The file appears whole or not at all; its directory is made.

    Raises:
      InfrastructureError: NO_SPACE or OUTPUT_NOT_WRITABLE.
      UsageError: a request is of a method that warm-up files cannot hold.
    """
    unfinished = f"{path}.unfinished"
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        try:
            with open(unfinished, "wb") as file:
                count = write_records((_log_of(request) for request in _first(requests)), file)
            os.replace(unfinished, path)
        except BaseException:
            if os.path.lexists(unfinished):
                os.unlink(unfinished)
            raise
    except OSError as error:
        reason = ReasonCode.NO_SPACE if error.errno == errno.ENOSPC else ReasonCode.OUTPUT_NOT_WRITABLE
        raise InfrastructureError(reason, f"{path}: {error.strerror or error}.") from error
    return count


def _first(requests: Iterable[SampleRequest]) -> Iterator[SampleRequest]:
    for count, request in enumerate(requests, 1):
        yield request
        if count == MOST_WARMUP_RECORDS:
            return


def fits_warmup_file(request: SampleRequest) -> str:
    """Why a warm-up file cannot hold a request; empty where it can."""
    if request.method not in _FIELDS:
        return f"a warm-up file cannot hold requests of {request.method}"
    if len(request.payload) > LARGEST_REQUEST:
        return f"it has {len(request.payload)} bytes, and a record of 2 GiB cannot be read"
    return ""


def _log_of(request: SampleRequest) -> bytes:
    problem = fits_warmup_file(request)
    if problem:
        raise UsageError(f"{request.label}: {problem}.")
    return length_field(_FIELDS[request.method], length_field(_REQUEST_FIELD, request.payload))
