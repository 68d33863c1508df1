"""Has every validation bear a run id, and those who watch see what goes on in it."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

from infra_validator.core.progress import Progress, Tell, new_run_id, tell_nobody
from infra_validator.report.verdict import ValidationReport
from infra_validator.telemetry.watchers import Watchers

Run = TypeVar("Run", bound=Callable[..., ValidationReport])


def observed(run: Run) -> Run:
    """``run`` with a run id for each call, its own where it is given none, that stands in the report; watched as the environment says."""

    @functools.wraps(run)
    def watched(*args: Any, **more: Any) -> ValidationReport:
        more["run_id"] = more.get("run_id") or new_run_id()
        watchers = Watchers(os.environ)
        if watchers:
            more["tell"] = _both(more.get("tell", tell_nobody), watchers.tell)
        report = dataclasses.replace(run(*args, **more), run_id=more["run_id"])
        if watchers:
            watchers.end(report)
        return report

    return cast(Run, watched)


def _both(first: Tell, second: Tell) -> Tell:
    def tell(event: Progress) -> None:
        first(event)
        second(event)

    return tell
