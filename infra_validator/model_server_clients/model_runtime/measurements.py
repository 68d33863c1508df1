"""What the ModelRuntime client has seen of one model in one runtime."""

from __future__ import annotations

import dataclasses

from infra_validator.protos import model_runtime_pb2 as pb2


@dataclasses.dataclass
class Measurements:
    """What was seen of one model in one runtime; a field is None until it is known.

    Attributes:
      status: the READY answer.
      predicted_bytes: the answer of predictModelSize; None also when the runtime does not implement it.
      size_bytes: the size that model-mesh would book.
      max_concurrency: requests at once per model; None when the runtime limits nothing.
      start_seconds, load_seconds, unload_seconds: how long it took.
      notes: what model-mesh would put up with, but not like; one sentence each.
    """

    status: pb2.RuntimeStatusResponse | None = None
    predicted_bytes: int | None = None
    size_bytes: int | None = None
    max_concurrency: int | None = None
    start_seconds: float | None = None
    load_seconds: float | None = None
    unload_seconds: float | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
