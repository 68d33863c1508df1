"""A question: what one request asks, before it is a message, so that rows can be joined and written for either protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from google.protobuf import message

from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.questions import methods
from infra_validator.sample_requests.questions.rest_body import examples_body, inputs_body
from infra_validator.sample_requests.questions.signature_inputs import SignatureInputs
from infra_validator.sample_requests.questions.tensor_values import shape_of

_INPUT_METHODS: dict[str, type[serving_pb2.ClassificationRequest] | type[serving_pb2.RegressionRequest]] = {
    methods.CLASSIFY: serving_pb2.ClassificationRequest,
    methods.REGRESS: serving_pb2.RegressionRequest,
}


@dataclasses.dataclass(frozen=True)
class Question:
    """One request in the making.

    Attributes:
      method: the RPC: Predict, Classify, Regress or MultiInference.
      signature: the signature asked.
      label: where it came from.
      inputs: the tensors of a Predict.
      examples: the examples of a Classify or Regress.
      context: the features that those share, if any.
      output_filter: the outputs asked for; empty: all.
      body: the JSON body, where it was written as one.
      payload: the serialized request, where it was one already; of a MultiInference there is nothing else.
      after_all_before: see SampleRequest.
      is_row: whether it is one row of a source of rows, which may be joined with others at will.
    """

    method: str
    signature: str
    label: str
    inputs: Mapping[str, tf.TensorProto] = dataclasses.field(default_factory=dict)
    examples: tuple[tf.Example, ...] = ()
    context: tf.Example | None = None
    output_filter: tuple[str, ...] = ()
    body: bytes | None = None
    payload: bytes = b""
    after_all_before: bool = False
    is_row: bool = False


def request_of(question: Question, inputs: SignatureInputs, model_name: str, over_rest: bool = False) -> SampleRequest:
    """The sample request that asks ``question``.

    Args:
      inputs: what the signature asked says of its inputs.
      model_name: the model's name on the server.
      over_rest: whether to write a JSON body even where the question was not written as one.

    Raises:
      ValueMisfit: a body is wanted, and an input cannot be written as JSON.
    """
    is_predict = question.method == methods.PREDICT
    shapes = {key: shape_of(tensor) for key, tensor in question.inputs.items()} if is_predict else {}
    rows = inputs.rows(shapes) if is_predict else len(question.examples) or None
    body = question.body
    if body is None and over_rest:
        if is_predict:
            body = inputs_body(question.signature, inputs.signature, question.inputs, rows)
        elif question.method in _INPUT_METHODS:
            body = examples_body(question.signature, question.examples, question.context)
    return SampleRequest(
        question.method,
        question.signature,
        _payload(question, model_name),
        question.label,
        rows,
        question.output_filter,
        inputs.contradiction(shapes),
        body,
        question.after_all_before,
    )


def _payload(question: Question, model_name: str) -> bytes:
    if question.method == methods.MULTI_INFERENCE:
        several = serving_pb2.MultiInferenceRequest.FromString(question.payload)
        for task in several.tasks:
            task.model_spec.name = model_name
        return several.SerializeToString()
    kind = _INPUT_METHODS.get(question.method, serving_pb2.PredictRequest)
    request = kind.FromString(question.payload)
    request.model_spec.name = model_name
    request.model_spec.signature_name = question.signature
    request.model_spec.ClearField("version_choice")
    if question.payload:
        return request.SerializeToString()
    if isinstance(request, serving_pb2.PredictRequest):
        for key, tensor in question.inputs.items():
            request.inputs[key].CopyFrom(tensor)
        request.output_filter.extend(question.output_filter)
    elif question.context is not None:
        request.input.example_list_with_context.examples.extend(question.examples)
        request.input.example_list_with_context.context.CopyFrom(question.context)
    else:
        request.input.example_list.examples.extend(question.examples)
    return request.SerializeToString()


def question_of(request: SampleRequest) -> Question | None:
    """The question that a request asks; None if it is none of Predict, Classify and Regress, or no such message at all."""
    kind = serving_pb2.PredictRequest if request.method == methods.PREDICT else _INPUT_METHODS.get(request.method)
    if kind is None:
        return None
    try:
        made = kind.FromString(request.payload)
    except message.DecodeError:
        return None
    base = Question(request.method, request.signature, request.label, body=request.rest_body, payload=request.payload)
    if isinstance(made, serving_pb2.PredictRequest):
        return dataclasses.replace(base, inputs=dict(made.inputs), output_filter=tuple(made.output_filter))
    return with_input(base, made.input)


def with_input(question: Question, given: serving_pb2.Input) -> Question:
    """A question with the examples and the context of a Classify's or Regress's input."""
    if given.WhichOneof("kind") == "example_list_with_context":
        shared = given.example_list_with_context
        return dataclasses.replace(question, examples=tuple(shared.examples), context=shared.context)
    return dataclasses.replace(question, examples=tuple(given.example_list.examples))
