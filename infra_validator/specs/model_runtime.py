"""The part of a serving spec that says how to run a model-mesh ModelRuntime."""

from __future__ import annotations

import dataclasses

from infra_validator.specs.reader import spec_field


@dataclasses.dataclass(frozen=True)
class ModelRuntimeConfig:
    """A model-mesh ModelRuntime as the serving binary. Ours."""

    image: str = spec_field("", "The runtime's image, for platforms with images.")
    command: tuple[str, ...] = spec_field(
        (), "The runtime's program; empty: the image's entry point, or our own runtime."
    )
    extra_args: tuple[str, ...] = spec_field((), "Arguments appended to the command.")
