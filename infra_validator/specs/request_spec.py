"""The request spec: which sample requests to send."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from infra_validator.core.errors import SpecError
from infra_validator.specs.extensions import REQUEST_SOURCES
from infra_validator.specs.reader import above_zero, extensions_field, one_of, read, spec_field, to_dict

_LARGEST_BATCH = 2**31 - 1  # TensorFlow counts rows in 32 bits where it splits batches; a message holds no more bytes

#: ``signature_names: ["*"]``: all that the model serves.
ALL_SIGNATURES = "*"


@dataclasses.dataclass(frozen=True)
class TensorFlowServingRequestSpec:
    """TFX's TensorFlowServingRequestSpec."""

    tag_set: tuple[str, ...] = spec_field((), "Tags of the graph to ask; empty: serve.")
    signature_names: tuple[str, ...] = spec_field((), 'Signatures to ask; empty: serving_default; ["*"]: all.')


@dataclasses.dataclass(frozen=True)
class GenerateSpec:
    """How requests are made up from a signature. ``{}`` is enough where no input is a string."""

    values: str = spec_field(
        "random",
        "`zeros`, `ones` or `random`: numbers from 0 to 1, or of ranges.",
        check=one_of("zeros", "ones", "random"),
    )
    seed: int = spec_field(0, "Of the random values: the same seed makes the same requests.")
    ranges: Mapping[str, tuple[float, ...]] = spec_field({}, "[low, high] of an input's random values, both included.")
    shapes: Mapping[str, tuple[int, ...]] = spec_field({}, "The whole shape of an input, the batch dimension included.")
    texts: Mapping[str, tuple[str, ...]] = spec_field({}, "The strings of an input, taken in turn.")

    def check(self, path: str) -> None:
        """What the fields must be together. Raises SpecError."""
        for name, limits in self.ranges.items():
            if len(limits) != 2:
                raise SpecError(f"{path}.ranges.{name}", f"must be [low, high], not {len(limits)} numbers")
            if limits[0] > limits[1]:
                raise SpecError(
                    f"{path}.ranges.{name}", f"the low end {limits[0]:g} is above the high end {limits[1]:g}"
                )
        if self.ranges and self.values != "random":
            raise SpecError(f"{path}.ranges", f"has no effect on values: {self.values}")
        for name, shape in self.shapes.items():
            if any(not 0 <= size < 2**31 for size in shape):
                raise SpecError(f"{path}.shapes.{name}", "sizes must be from 0 to 2147483647")
        for name, texts in self.texts.items():
            if not texts:
                raise SpecError(f"{path}.texts.{name}", "must have at least one text")


@dataclasses.dataclass(frozen=True)
class RequestSpec:
    """Which examples become sample requests. Field names and defaults are TFX's; the rest is ours."""

    tensorflow_serving: TensorFlowServingRequestSpec | None = spec_field(None, "How TensorFlow Serving is asked.")
    split_name: str = spec_field("", "The split of the Examples artifact; empty: the first.")
    num_examples: int = spec_field(1, "How many examples are sent.", check=above_zero, unset_at_zero=True)
    make_warmup: bool = spec_field(
        False, "Whether to write the model with the requests as its warm-up file, unencrypted."
    )
    concurrency: int = spec_field(8, "How many requests are under way at once.", check=above_zero)
    features: Mapping[str, str] = spec_field({}, "The feature of the examples for an input, where their names differ.")
    padding: Mapping[str, Any] = spec_field({}, "What fills up an input's rows of several lengths.")
    numbers_in_strings: tuple[str, ...] = spec_field((), "Inputs whose numbers stand in strings in the examples.")
    images: Mapping[str, str] = spec_field({}, "`decode` for inputs whose features are encoded images.")
    generate: GenerateSpec | None = spec_field(None, "Make requests up from the signature.")
    batch_sizes: tuple[int, ...] = spec_field(
        (), "Rows are sent in batches of each of these sizes; empty: as they are."
    )
    protocols: tuple[str, ...] = spec_field((), "`grpc`, `rest` or both; empty: grpc.")
    other_sources: Mapping[str, Any] = extensions_field(
        REQUEST_SOURCES, "A source of requests of an installed package (docs/extending.md)."
    )

    @classmethod
    def of(cls, given: object) -> RequestSpec:
        """Read a TFX RequestSpec proto, its JSON, a dict, YAML, or a file; None means all defaults."""
        return read(cls, given, "request_spec")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data without the fields that have their default; ``of`` reads it back."""
        return to_dict(self)

    def check(self, path: str) -> None:
        """What the fields must be together. Raises SpecError."""
        for index, size in enumerate(self.batch_sizes):
            if not 1 <= size <= _LARGEST_BATCH:
                raise SpecError(f"{path}.batch_sizes[{index}]", f"must be from 1 to {_LARGEST_BATCH}, not {size}")
        for index, protocol in enumerate(self.protocols):
            problem = one_of("grpc", "rest")(protocol)
            if problem:
                raise SpecError(f"{path}.protocols[{index}]", problem)
        for name, how in self.images.items():
            problem = one_of("decode")(how)
            if problem:
                raise SpecError(f"{path}.images.{name}", problem)
        for name, filler in self.padding.items():
            if not isinstance(filler, (bool, int, float, str)):
                raise SpecError(f"{path}.padding.{name}", "must be a number, a boolean or a string")
        if len(self.other_sources) + (self.generate is not None) > 1:
            sources = " and ".join([*self.other_sources, *(["generate"] if self.generate else [])])
            raise SpecError(path, f"needs one source of requests at most; {sources} are given")
        if ALL_SIGNATURES in self.signature_names and len(self.signature_names) > 1:
            raise SpecError(f"{path}.tensorflow_serving.signature_names", '"*" stands alone: it means all of them')

    @property
    def named_signatures(self) -> tuple[str, ...]:
        """The signatures that the spec names; empty where it leaves them to the default."""
        return self.tensorflow_serving.signature_names if self.tensorflow_serving else ()

    @property
    def signature_names(self) -> tuple[str, ...]:
        """The signatures to ask."""
        return self.named_signatures or ("serving_default",)

    @property
    def tag_set(self) -> frozenset[str]:
        """The tags of the graph to ask."""
        named = self.tensorflow_serving.tag_set if self.tensorflow_serving else ()
        return frozenset(named or ("serve",))

    @property
    def makes_requests(self) -> bool:
        """Whether the spec itself says where requests come from."""
        return self.generate is not None or bool(self.other_sources)

    @property
    def over_rest(self) -> bool:
        """Whether the requests are to be asked over REST, too."""
        return "rest" in self.protocols

    @property
    def given(self) -> tuple[str, ...]:
        """The fields that say something other than their default, in their order. ``tag_set`` also says how to load."""
        return tuple(name for name in to_dict(self) if name != "tensorflow_serving" or self.named_signatures)
