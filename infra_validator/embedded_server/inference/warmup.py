"""Warm-up: the requests in a model's ``assets.extra`` are replayed while it loads (contract 8)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from infra_validator.core import wire
from infra_validator.embedded_server import log
from infra_validator.embedded_server.inference.inference import RunSettings
from infra_validator.embedded_server.inference.prediction_service import Method, PredictionService
from infra_validator.embedded_server.models.servable import Servable
from infra_validator.embedded_server.status import Code, StatusError, from_os_error, invalid_argument
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
_RECORDS_AT_MOST = 1000
_SOURCE = "saved_model_warmup_util.cc"
_REQUEST = 1  # the field of every log that holds the request
_UNSUPPORTED = (5, 7)  # session_run_log, predict_streamed_log
_LOG_TYPES = {2: "Classify", 3: "Regress", 4: "MultiInference", 6: "Predict"}
_EMPTY_MODEL_SPEC = wire.length_field(1, b"")  # merges with the request's own; warm-up asks for none


class _Only:
    """The one model that is being warmed up, whatever a request calls it."""

    def __init__(self, servable: Servable) -> None:
        self._servable = servable

    def find(self, _spec: serving_pb2.ModelSpec) -> Servable:
        self._servable.try_hold()
        return self._servable


def warm_up(servable: Servable, directory: str, iterations: int, settings: RunSettings) -> int:
    """Replay the warm-up file of the version in ``directory``; returns the number of records read.

    Args:
      iterations: how often each record is replayed; once if not above 0.
      settings: of every run.

    Raises:
      StatusError: the load fails with it.
    """
    path = os.path.join(directory, FILE)
    if not os.path.exists(path):
        log.info(_SOURCE, f"No warmup data file found at {path}")
        return 0
    options = f"num_request_iterations {{ value: {iterations} }}" if iterations > 0 else ""
    log.info(_SOURCE, f"Starting to read warmup data for model at {path} with model-warmup-options {options}")
    methods = PredictionService(_Only(servable)).methods()
    started, count = time.perf_counter(), 0
    for record in _records(path):
        for _ in range(max(iterations, 1)):
            _replay(record, path, methods, settings)
        count += 1
        if count > _RECORDS_AT_MOST:
            raise invalid_argument(f"Number of warmup records exceeds the maximum ({_RECORDS_AT_MOST}) at {path}")
    elapsed = int((time.perf_counter() - started) * 1e6)
    log.info(
        _SOURCE,
        f"Finished reading warmup data for model at {path}. Number of warmup records read: {count}. "
        f"Elapsed time (microseconds): {elapsed}.",
    )
    return count


def _records(path: str) -> Iterator[bytes]:
    """The records of the file; what TensorFlow says of a damaged one is the load's error."""
    from infra_validator.sample_requests.records.plain_records import DamagedRecord, plain_records

    try:
        yield from plain_records(path)
    except DamagedRecord as error:
        raise _data_loss(str(error)) from error
    except OSError as error:
        raise from_os_error(error) from error


def _data_loss(cause: str) -> StatusError:
    return StatusError(Code.DATA_LOSS, f"{cause}. Please verify your warmup data is in TFRecord format.")


def _replay(record: bytes, path: str, methods: dict[str, Method], settings: RunSettings) -> None:
    try:
        chosen = [(number, start, end) for number, kind, start, end in wire.fields(record) if kind == wire.LENGTH]
        chosen = [(number, start, end) for number, start, end in chosen if number in (*_LOG_TYPES, *_UNSUPPORTED)]
        if not chosen:
            return
        log_type = chosen[-1][0]
        if log_type in _UNSUPPORTED:
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {log_type}")
        content = b"".join(record[start:end] for number, start, end in chosen if number == log_type)
        parts = [
            content[first:last]
            for number, kind, first, last in wire.fields(content)
            if (number, kind) == (_REQUEST, wire.LENGTH)
        ]
        request = b"".join(parts)
        if _LOG_TYPES[log_type] != "MultiInference":
            request = _EMPTY_MODEL_SPEC + request
        methods[_LOG_TYPES[log_type]](request, settings)
    except wire.WireError as error:
        text = record.decode("utf-8", "surrogateescape")
        raise invalid_argument(f"Failed to parse warmup record: {text} from {path}") from error
