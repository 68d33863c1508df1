"""One request to send to a model server, in a form that any client can carry."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class SampleRequest:
    """A request as bytes plus a method.

    Attributes:
      method: the full RPC path, e.g. ``/tensorflow.serving.PredictionService/Predict``.
      signature: the signature asked, for messages to people.
      payload: the serialized request message.
      label: where it came from, e.g. ``record 3 of examples-00000.gz``; never its content.
    """

    method: str
    signature: str
    payload: bytes = dataclasses.field(repr=False)
    label: str
