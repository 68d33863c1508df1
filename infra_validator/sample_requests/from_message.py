"""Sample requests of messages that the caller made: TensorFlow Serving's official ones, or this package's wire-compatible ones."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from infra_validator.core.errors import UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.sample_requests.questions import methods

_METHODS = {
    "PredictRequest": methods.PREDICT,
    "ClassificationRequest": methods.CLASSIFY,
    "RegressionRequest": methods.REGRESS,
    "MultiInferenceRequest": methods.MULTI_INFERENCE,
}
_PACKAGES = ("tensorflow.serving", "infra_validator.tensorflow_serving")


def request_from_message(message: Message, label: str) -> SampleRequest:
    """The sample request that carries ``message`` as it is; its model name must be that of the serving spec.

    Args:
      message: e.g. a ``tensorflow_serving.apis.predict_pb2.PredictRequest``.
      label: how reports call it; not its content.

    Raises:
      UsageError: it is no request of TensorFlow Serving's PredictionService (BAD_REQUESTS).
    """
    package, _, name = message.DESCRIPTOR.full_name.rpartition(".")
    if package not in _PACKAGES or name not in _METHODS:
        known = ", ".join(_METHODS)
        raise UsageError(f"{label}: {message.DESCRIPTOR.full_name} is none of {known}.", reason=ReasonCode.BAD_REQUESTS)
    given: Any = message
    specs = [task.model_spec for task in given.tasks] if name == "MultiInferenceRequest" else [given.model_spec]
    signature = ", ".join(spec.signature_name or "serving_default" for spec in specs)
    return SampleRequest(_METHODS[name], signature, message.SerializeToString(), label)
