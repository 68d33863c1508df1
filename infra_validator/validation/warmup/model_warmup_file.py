"""Whether a model's own warm-up file is one that TensorFlow Serving reads, before anything is started.

A server that refuses it refuses the model. What is asked in the file is not looked at: only the model can say whether it answers.
"""

from __future__ import annotations

import os

from google.protobuf import message

from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.wire import WireError, field_numbers
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.files.prediction_log import MOST_WARMUP_RECORDS
from infra_validator.sample_requests.records.crc32c import is_quick
from infra_validator.sample_requests.records.plain_records import DamagedRecord, plain_records
from infra_validator.saved_model.find import WARMUP_FILE, unreadable

_GZIP_MAGIC = b"\x1f\x8b"
_SUMMED_SLOWLY_AT_MOST = 32 << 20  # bytes; two seconds, where checksums are not made by machine code
_NOT_REPLAYED = ("session_run_log", "predict_streamed_log")


def check_warmup_file(model: str) -> None:
    """Read the warm-up file of the SavedModel directory ``model`` as TensorFlow Serving does; none is fine.

    Raises:
      AttemptFailed: the server would refuse it (WARMUP_FAILED); names the file, the record and the cause.
      InfrastructureError: it cannot be read (MODEL_NOT_READABLE).
    """
    path = os.path.join(model, WARMUP_FILE)
    if not os.path.exists(path):
        return
    number = 0
    try:
        with open(path, "rb") as file:
            if file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC:
                raise _refused(path, "it is gzipped, and the server reads it as it is", "Unpack it: gunzip.")
        check_data = is_quick() or os.path.getsize(path) <= _SUMMED_SLOWLY_AT_MOST
        for number, record in enumerate(plain_records(path, check_data), 1):
            if number > MOST_WARMUP_RECORDS:
                raise _refused(path, f"record {number} is one more than the {MOST_WARMUP_RECORDS} that a server takes")
            problem = _problem_of(record)
            if problem:
                raise _refused(path, f"record {number} {problem}")
    except DamagedRecord as error:
        raise _refused(path, f"record {number + 1}: {error}") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _problem_of(record: bytes) -> str:
    """Why a server refuses a record without asking the model; empty if it does not."""
    try:
        field_numbers(record)
        kind = serving_pb2.PredictionLog.FromString(record).WhichOneof("log_type")
    except (message.DecodeError, WireError):
        return "cannot be read as a PredictionLog"
    return f"is a {kind}, which servers do not replay" if kind in _NOT_REPLAYED else ""


def _refused(path: str, problem: str, next_step: str = "") -> AttemptFailed:
    return AttemptFailed(ReasonCode.WARMUP_FAILED, f"{path}: {problem}.", next_step=next_step)
