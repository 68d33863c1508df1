"""A source of requests: numbers from one to another."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from infra_validator.core.errors import SpecError
from infra_validator.core.sample_request import SampleRequest
from infra_validator.sample_requests.base_source import AskedModel, BaseRequestSource
from infra_validator.specs.reader import above_zero, spec_field

ASK = "/acme/ask"  # the only method of Acme's protocol


@dataclasses.dataclass(frozen=True)
class RampConfig:
    """Asks with numbers from one to another, each a request."""

    input: str = spec_field("x", "The input that gets the numbers.")
    start: float = spec_field(0.0, "The first number.")
    step: float = spec_field(1.0, "How far the next one is.")
    count: int = spec_field(10, "How many there are.", check=above_zero)


class RampSource(BaseRequestSource):
    """For SavedModels, whose signatures are known, as named inputs; for Acme's own models in their own protocol."""

    config_class = RampConfig

    def __init__(self, config: Any, model: AskedModel) -> None:
        super().__init__(config, model)
        for name in model.request_spec.signature_names if model.signatures else ():
            signature = model.signatures.get(name)
            if signature is not None and config.input not in signature.inputs:
                raise SpecError("request_spec.acme_ramp.input", f"the signature {name!r} has no input {config.input!r}")

    def MakeRequests(self) -> Iterable[SampleRequest | Mapping[str, Any]]:
        for number in range(self.config.count):
            value = self.config.start + number * self.config.step
            if self.model.signatures:
                yield {"inputs": {self.config.input: [value]}}
            else:
                payload = json.dumps({self.config.input: [value]}).encode()
                yield SampleRequest(ASK, "formula", payload, f"number {number + 1} of the ramp")
