"""One server under load, with none beside it."""

from __future__ import annotations

from infra_validator.validation.limits.under_load import LoadJob, LoadOutcome


def alone(job: LoadJob) -> LoadOutcome:
    """An ``UnderLoad``: every kind of request of the source in turn."""
    return LoadOutcome()
