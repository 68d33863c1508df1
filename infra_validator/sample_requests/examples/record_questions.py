"""From one record of examples to one question, by what a signature takes. For signatures of serialized examples the rules are TFX's."""

from __future__ import annotations

from collections.abc import Mapping

from infra_validator.core.errors import ExamplesError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.examples.features import (
    FeatureValues,
    NotAnExampleError,
    example_of_record,
    features_of_example,
    features_of_sequence_example,
)
from infra_validator.sample_requests.examples.named_inputs import NamedInputs
from infra_validator.sample_requests.questions import methods
from infra_validator.sample_requests.questions.question import Question
from infra_validator.sample_requests.questions.signature_inputs import declared_shape, described_inputs
from infra_validator.sample_requests.questions.tensor_values import tensor_of_values
from infra_validator.specs.request_spec import RequestSpec

# TFX's names of payload formats.
TF_EXAMPLE = "FORMAT_TF_EXAMPLE"
TF_SEQUENCE_EXAMPLE = "FORMAT_TF_SEQUENCE_EXAMPLE"
PROTO = "FORMAT_PROTO"
PARQUET = "FORMAT_PARQUET"  # rows of tables, not records
UNKNOWN = ""  # of an artifact that does not say

PAYLOAD_FORMATS = (TF_EXAMPLE, TF_SEQUENCE_EXAMPLE, PROTO, PARQUET, UNKNOWN)

_METHODS = {
    methods.PREDICT_METHOD_NAME: methods.PREDICT,
    methods.CLASSIFY_METHOD_NAME: methods.CLASSIFY,
    methods.REGRESS_METHOD_NAME: methods.REGRESS,
}


class RecordQuestions:
    """Makes the questions for one signature.

    Args:
      name: the signature's name.
      signature: the signature.
      payload_format: what a record is, by TFX's name.
      asked: how features become named inputs.

    Raises:
      UsageError: records of this kind cannot be sent to this signature (SIGNATURE_NOT_SUPPORTED).
      ExamplesError: the signature takes tf.Example, and the records are none.
    """

    def __init__(self, name: str, signature: tf.SignatureDef, payload_format: str, asked: RequestSpec) -> None:
        if signature.method_name not in _METHODS:
            raise UsageError(
                f"Signature {name!r} has the method name {signature.method_name!r}, which is none of predict, classify, regress.",
                reason=ReasonCode.SIGNATURE_NOT_SUPPORTED,
            )
        self._name = name
        self._method = _METHODS[signature.method_name]
        self._format = payload_format
        self._asked = asked
        self._takes_records = _input_of_records(signature) if self._method == methods.PREDICT else ""
        self._named = NamedInputs(name, signature, asked)
        if self._method != methods.PREDICT and payload_format not in (TF_EXAMPLE, UNKNOWN):
            raise ExamplesError(
                ReasonCode.EXAMPLES_NOT_READABLE,
                f"Signature {name!r} ({signature.method_name}) takes tf.Example, but the examples have the payload format "
                f"{payload_format}.",
                next_step="Give examples of FORMAT_TF_EXAMPLE, or name a predict signature.",
            )
        if self._method == methods.PREDICT and payload_format == PROTO and not self._takes_records:
            raise UsageError(
                f"Signature {name!r} takes {described_inputs(signature)}; records of {PROTO} can be sent to one input of "
                "serialized examples (string, shape [-1]).",
                reason=ReasonCode.SIGNATURE_NOT_SUPPORTED,
            )

    def of_record(self, record: bytes, label: str, where: str) -> Question:
        """The question of a serialized record.

        Args:
          label: how reports call it.
          where: how messages about the record itself call it.

        Raises:
          ExamplesError: it is no record of the payload format; names it.
          UsageError: its features do not fit the signature (BAD_REQUESTS).
        """
        key = self._takes_records
        if key and self._format == PROTO:
            return self._serialized(key, record, label)
        try:
            example = None if self._format == TF_SEQUENCE_EXAMPLE else example_of_record(record)
            if self._method != methods.PREDICT:
                assert example is not None
                return Question(self._method, self._name, label, examples=(example,), is_row=True)
            if example is None and key and key not in self._asked.features:
                features = _sequence_features_or_none(record)
            else:
                features = features_of_sequence_example(record) if example is None else None
        except NotAnExampleError as error:
            if key and self._format == UNKNOWN:
                return self._serialized(key, record, label)
            raise ExamplesError(ReasonCode.EXAMPLES_NOT_READABLE, f"{where}: {error}.") from error
        if key and key not in self._asked.features:
            if features is None and example is not None and key in example.features.feature:
                features = features_of_example(example)
            if not features or key not in features or features[key].kind != "bytes":
                return self._serialized(key, record, label)
        if features is None:
            features = features_of_example(example if example is not None else tf.Example())
        return self.of_features(features, label, where)

    def of_features(self, features: Mapping[str, FeatureValues], label: str, where: str) -> Question:
        """The question of a record's features. Raises UsageError as ``of_record``."""
        inputs, is_row = self._named.inputs_of(features, where)
        return Question(self._method, self._name, label, inputs, is_row=is_row)

    def _serialized(self, key: str, record: bytes, label: str) -> Question:
        return Question(
            self._method, self._name, label, {key: tensor_of_values(tf.DT_STRING, [1], [record])}, is_row=True
        )


def _input_of_records(signature: tf.SignatureDef) -> str:
    """The one input that may take a batch of serialized records; empty if there is none."""
    if len(signature.inputs) != 1:
        return ""
    ((key, info),) = signature.inputs.items()
    return key if info.dtype == tf.DT_STRING and declared_shape(info) in (None, [-1], [1]) else ""


def _sequence_features_or_none(record: bytes) -> dict[str, FeatureValues] | None:
    """The features of a record that may go out as it is, whatever it holds."""
    try:
        return features_of_sequence_example(record)
    except NotAnExampleError:
        return None
