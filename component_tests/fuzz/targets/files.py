"""Files that come with a model, and files of sample requests."""

from __future__ import annotations

import os

from component_tests.fuzz.target import Target, from_file
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.examples.record_questions import TF_EXAMPLE, RecordQuestions
from infra_validator.sample_requests.files.requests_file import requests_from_file
from infra_validator.sample_requests.records.plain_records import DamagedRecord, plain_records
from infra_validator.sample_requests.records.tfrecord import TFRecordError, read_records
from infra_validator.saved_model.model_files import check_model_files
from infra_validator.specs.request_spec import RequestSpec
from infra_validator.validation.warmup.model_warmup_file import check_warmup_file

_OURS = (AttemptFailed, InfrastructureError, UsageError)


def _signature() -> tf.SignatureDef:
    made = tf.SignatureDef(method_name="tensorflow/serving/predict")
    for name, dtype in (("x", tf.DT_FLOAT), ("text", tf.DT_STRING), ("count", tf.DT_INT64), ("flag", tf.DT_BOOL)):
        made.inputs[name].dtype = dtype
        made.inputs[name].name = f"{name}:0"
        made.inputs[name].tensor_shape.dim.add(size=-1)
    made.outputs["y"].dtype = tf.DT_FLOAT
    return made


def _of_examples(method: str) -> tf.SignatureDef:
    made = tf.SignatureDef(method_name=f"tensorflow/serving/{method}")
    made.inputs["examples"].dtype = tf.DT_STRING
    made.inputs["examples"].name = "examples:0"
    made.inputs["examples"].tensor_shape.dim.add(size=-1)
    return made


_SIGNATURES = {
    "serving_default": _signature(),
    "classify": _of_examples("classify"),
    "serialized": _of_examples("predict"),
}


def _saved_model(path: str) -> None:
    check_model_files(os.path.dirname(path))


def _requests(path: str) -> None:
    for request in requests_from_file(path, _SIGNATURES, "m"):
        assert request.payload or request.method


def _example(data: bytes) -> None:
    for name, signature in _SIGNATURES.items():
        try:
            RecordQuestions(name, signature, TF_EXAMPLE, RequestSpec()).of_record(data, "record 1", "record 1")
        except _OURS:
            pass


def _all_records(path: str) -> None:
    for check in (True, False):
        try:
            list(plain_records(path, check))
        except DamagedRecord:
            pass
    list(read_records(path))


def _warmup(path: str) -> None:
    check_warmup_file(os.path.dirname(os.path.dirname(path)))


TARGETS = (
    Target("saved_model", from_file(_saved_model, "saved_model.pb"), _OURS),
    Target("saved_model_text", from_file(_saved_model, "saved_model.pbtxt"), _OURS),
    Target("tfrecord", from_file(_all_records), (TFRecordError,)),
    Target("request_file", from_file(_requests), _OURS),
    Target("npz", from_file(_requests), _OURS),
    Target("example", _example, _OURS),
    Target("warmup_file", from_file(_warmup, "assets.extra/tf_serving_warmup_requests"), _OURS),
)
