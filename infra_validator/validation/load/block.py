"""What one stretch of load measured; stretches can be put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from infra_validator.report.measurements import ClientShare, LoadRun
from infra_validator.specs.limits.load_spec import LoadMode, LoadSpec
from infra_validator.validation.load.histogram import Latencies, encode, merged
from infra_validator.validation.load.kinds import RequestKind
from infra_validator.validation.load.percentiles import percentiles
from infra_validator.validation.load.windows import Window


@dataclasses.dataclass
class Block:
    """One stretch of load.

    Attributes:
      windows: in order; all that was answered lies in one of them.
      seconds: from its beginning to its last answer.
      error: the first error, in the server's words; empty where there was none.
      lost: how many requests were cut off with their connection: no answers, no errors.
      delays: how late requests were sent by the validator's own doing.
      processor_seconds: of the validator's process meanwhile; share_seconds: over how long.
    """

    windows: list[Window] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    error: str = ""
    lost: int = 0
    delays: Latencies = dataclasses.field(default_factory=Latencies)
    processor_seconds: float = 0.0
    share_seconds: float = 0.0

    @property
    def latencies(self) -> Latencies:
        """Of the requests answered rightly."""
        return merged(window.latencies for window in self.windows)

    @property
    def requests(self) -> int:
        """How many were answered rightly."""
        return sum(window.latencies.total for window in self.windows)

    @property
    def errors(self) -> int:
        """How many were not."""
        return sum(window.errors for window in self.windows)

    @property
    def rate(self) -> float:
        """Requests answered rightly per second."""
        return self.requests / self.seconds if self.seconds > 0 else 0.0

    @property
    def client(self) -> ClientShare:
        """What the measuring itself took."""
        return ClientShare(
            processor_seconds=self.processor_seconds,
            processor_share=self.processor_seconds / self.share_seconds if self.share_seconds > 0 else 0.0,
            delay_p50_ms=self.delays.percentile(50.0),
            delay_p99_ms=self.delays.percentile(99.0),
        )

    def since(self, first: int) -> Block:
        """What was measured from the window of this number on; the client's share is of the whole."""
        windows = self.windows[first:]
        return dataclasses.replace(
            self, windows=windows, seconds=self.seconds - sum(w.seconds for w in self.windows[:first])
        )


def together(blocks: Iterable[Block]) -> Block:
    """All of them as one."""
    whole = Block()
    for block in blocks:
        whole.windows += block.windows
        whole.seconds += block.seconds
        whole.error = whole.error or block.error
        whole.lost += block.lost
        whole.delays.merge(block.delays)
        whole.processor_seconds += block.processor_seconds
        whole.share_seconds += block.share_seconds
    return whole


def load_run_of(
    kind: RequestKind,
    spec: LoadSpec,
    blocks: Sequence[Block],
    *,
    warm_up: Sequence[Window] = (),
    why_not_steady: str = "",
) -> LoadRun:
    """What was measured of one kind of request, for the report.

    Args:
      kind, spec: what was asked, and how.
      blocks: what counts.
      warm_up: the windows that do not.
      why_not_steady: one sentence; empty: it was steady.
    """
    block = together(blocks)
    latencies = block.latencies
    closed = spec.mode is LoadMode.CLOSED
    return LoadRun(
        signature=kind.signature,
        batch_size=kind.batch_size,
        mode=spec.mode.value,
        concurrency=spec.concurrency if closed else None,
        rate_rps=None if closed else spec.rate_rps,
        seconds=block.seconds,
        requests=latencies.total,
        errors=block.errors,
        error=block.error,
        throughput_rps=block.rate,
        steady=not why_not_steady,
        why_not_steady=why_not_steady,
        percentiles=percentiles(latencies),
        histogram=encode(latencies),
        windows=(*(w.told(True) for w in warm_up), *(w.told(False) for w in block.windows)),
        client=block.client,
        lost=block.lost,
    )
