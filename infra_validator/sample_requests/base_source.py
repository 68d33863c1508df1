"""What a source of sample requests in somebody else's package must answer: WITH WHAT the model is asked."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2
from infra_validator.specs import RequestSpec
from infra_validator.specs.extensions import NoConfig


@dataclasses.dataclass(frozen=True)
class AskedModel:
    """The model that is to be asked.

    Attributes:
      name: on the server.
      signatures: by name; empty where they are not known here.
      request_spec: the whole request spec.
    """

    name: str
    signatures: Mapping[str, tensorflow_pb2.SignatureDef]
    request_spec: RequestSpec


class BaseRequestSource(abc.ABC):
    """Makes sample requests. One object serves a whole validation.

    Args:
      config: its part of the request spec, a ``config_class``.
      model: what is to be asked.

    Raises:
      SpecError, UsageError: from the constructor: the config does not fit the model. Nothing is started then.
    """

    #: The data class of the source's part of a request spec.
    config_class: type = NoConfig

    def __init__(self, config: Any, model: AskedModel) -> None:
        self.config = config
        self.model = model

    @abc.abstractmethod
    def MakeRequests(self) -> Iterable[SampleRequest | Mapping[str, Any]]:
        """The requests, made anew on every call (once for each attempt) and read as they are sent, perhaps in another thread.

        A mapping is what a line of a JSON file of requests may hold: ``{"inputs": {"x": [1.0]}}``, ``{"instances": [...]}``, with or
        without a ``signature_name``. It needs the model's signatures. A SampleRequest is sent as it is.

        Raises:
          UsageError: BAD_REQUESTS; names what is wrong with which.
          InfrastructureError: the requests cannot be had from where they are.
        """
