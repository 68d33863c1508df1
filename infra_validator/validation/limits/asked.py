"""Whether the requests that limits name are asked: what can be told of it before anything is started."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import SpecError
from infra_validator.core.sample_request import RequestSource
from infra_validator.core.signals.interruption import Interruption
from infra_validator.specs import LimitsSpec
from infra_validator.specs.reader import one_of
from infra_validator.validation.read_within import read_within

_MOST_READ = 10_000  # requests; the load is made of no more


def check_signatures(limits: LimitsSpec, known: Iterable[str]) -> None:
    """Check that every signature that a latency limit names is one of the model's, where these are known.

    Raises:
      SpecError: it is not; names the nearest.
    """
    names = sorted(name for name in known if not name.startswith("__"))
    for index, limit in enumerate(limits.latency):
        for name in limit.signature.split(", ") if limit.signature and names else ():
            problem = one_of(*names)(name)
            if problem:
                raise SpecError(f"validation_spec.limits.latency[{index}].signature", problem)


def check_asked(limits: LimitsSpec, source: RequestSource, deadline: Deadline, interruption: Interruption) -> None:
    """Check that every signature and batch size that a latency limit names is asked.

    Args:
      limits: the limits.
      source: read only where a limit names something.
      deadline: when the requests must have been read.
      interruption: ends the reading.

    Raises:
      SpecError: nothing asks it; names what is asked.
      InfrastructureError: REQUESTS_TOO_SLOW, INTERRUPTED; and what the source raises.
    """
    named = [(i, limit) for i, limit in enumerate(limits.latency) if limit.signature or limit.batch_size is not None]
    if not named:
        return
    reading = read_within(source, deadline, interruption, at_once=64, too_slow="Not all of them came.")
    with contextlib.closing(reading) as requests:
        asked = sorted({(request.signature, request.rows or 0) for request in itertools.islice(requests, _MOST_READ)})
    for index, limit in named:
        path = f"validation_spec.limits.latency[{index}]"
        of_signature = [rows for name, rows in asked if limit.signature in ("", name)]
        if not of_signature:
            names = ", ".join(repr(name) for name in dict.fromkeys(name for name, _ in asked))
            raise SpecError(f"{path}.signature", f"nothing asks {limit.signature!r}; asked are: {names}")
        if limit.batch_size is not None and limit.batch_size not in of_signature:
            sizes = ", ".join(str(rows) if rows else "none" for rows in dict.fromkeys(sorted(of_signature)))
            whose = f" of {limit.signature!r}" if limit.signature else ""
            raise SpecError(
                f"{path}.batch_size",
                f"nothing asks a batch{whose} of {limit.batch_size}; the batch sizes that are asked: {sizes}",
                next_step="Have them asked with request_spec.batch_sizes, or correct the limit.",
            )
