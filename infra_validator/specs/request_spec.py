"""The request spec: which sample requests to send."""

from __future__ import annotations

import dataclasses
from typing import Any

from infra_validator.specs.reader import above_zero, read, spec_field, to_dict


@dataclasses.dataclass(frozen=True)
class TensorFlowServingRequestSpec:
    """TFX's TensorFlowServingRequestSpec."""

    tag_set: tuple[str, ...] = spec_field((), "Tags of the graph to ask; empty: serve.")
    signature_names: tuple[str, ...] = spec_field((), "Signatures to ask; empty: serving_default.")


@dataclasses.dataclass(frozen=True)
class RequestSpec:
    """Which examples become sample requests. Field names and defaults are TFX's; the rest is ours."""

    tensorflow_serving: TensorFlowServingRequestSpec | None = spec_field(None, "How TensorFlow Serving is asked.")
    split_name: str = spec_field("", "The split of the Examples artifact; empty: the first.")
    num_examples: int = spec_field(1, "How many examples are sent.", check=above_zero)
    make_warmup: bool = spec_field(False, "Whether to write the model with the requests as its warm-up file.")
    concurrency: int = spec_field(8, "How many requests are under way at once.", check=above_zero)

    @classmethod
    def of(cls, given: Any) -> RequestSpec:
        """Read a TFX RequestSpec proto, its JSON, a dict, YAML, or a file; None means all defaults."""
        return read(cls, given, "request_spec")

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)

    @property
    def signature_names(self) -> tuple[str, ...]:
        """The signatures to ask."""
        named = self.tensorflow_serving.signature_names if self.tensorflow_serving else ()
        return named or ("serving_default",)

    @property
    def tag_set(self) -> frozenset[str]:
        """The tags of the graph to ask."""
        named = self.tensorflow_serving.tag_set if self.tensorflow_serving else ()
        return frozenset(named or ("serve",))
