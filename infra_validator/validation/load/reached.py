"""Whether a load was sent as it was asked for; where it was not by the validator's own doing, no model is judged by it."""

from __future__ import annotations

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.validation.load.block import Block
from infra_validator.validation.load.histogram import Latencies

_ENOUGH_TO_TELL = 20  # requests
_OWN_DELAY_MS, _OWN_DELAY_SHARE = (
    1.0,
    0.10,
)  # the median of our own delays is above both: this, and this share of the median latency
_KEPT = 0.95  # of the schedule
_FULL_PROCESSOR = (
    0.9  # Python runs one thread at a time: a process that takes so much of a processor can send no faster
)
_LOOKS_LATE_MS = 5.0  # the median lateness of a thread that only has to look


def raise_if_not_reached(rate_rps: float, block: Block, kept: float, looks_late: Latencies) -> None:
    """Raise if the validator, not the server, is why the schedule was not kept.

    A server that is too slow for the schedule is none of this: all callers wait for it, and that shows in the latency.

    Args:
      rate_rps: what was asked for.
      block: what was measured.
      kept: the share of the requests that were sent by the time they were due.
      looks_late: how late a thread of ours was that only had to look now and then.

    Raises:
      InfrastructureError: LOAD_NOT_REACHED.
    """
    if block.delays.total < _ENOUGH_TO_TELL:
        return
    own = block.delays.percentile(50.0)
    share, late = block.client.processor_share, looks_late.percentile(50.0)
    if own > max(_OWN_DELAY_MS, _OWN_DELAY_SHARE * block.latencies.percentile(50.0)):
        why = f"half of them were sent more than {own:.1f} ms after they were due, though callers were free"
    elif kept < _KEPT and share > _FULL_PROCESSOR:
        why = f"its process took {share:.0%} of a processor, and Python runs one thread at a time"
    elif kept < _KEPT and late > _LOOKS_LATE_MS:
        why = f"its threads got to run {late:.0f} ms late"
    else:
        return
    raise InfrastructureError(
        ReasonCode.LOAD_NOT_REACHED,
        f"{rate_rps:g} requests per second were to be sent, and {kept:.0%} of them were in time: {why}.",
        fingerprint="LOAD_NOT_REACHED",
    )
