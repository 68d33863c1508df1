"""Sources of requests that hang: told as such before anything is started, and interrupted at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator.api import run_validation
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestSource, SampleRequest
from infra_validator.core.signals.interruption import Interruption
from infra_validator.report.verdict import Verdict

SPEC = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}
ENOUGH = 60.0  # seconds; a test that needs them fails


@pytest.fixture
def source() -> Iterator[RequestSource]:
    """A source that hangs before its first request."""
    released = threading.Event()

    def make() -> list[SampleRequest]:
        released.wait(ENOUGH)
        return []

    yield RequestSource(make)
    released.set()


def test_a_source_that_hangs_is_told_before_anything_is_started(
    saved_models: SavedModels, source: RequestSource
) -> None:
    model = saved_models.path("half_plus_two_tf2")
    report = run_validation(model, SPEC, {"max_query_time_seconds": 0.3}, requests=source)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.REQUESTS_TOO_SLOW)
    assert not report.serving_binaries[0].attempts


@pytest.mark.timeout(ENOUGH)
def test_an_interruption_is_noticed_while_the_source_hangs(saved_models: SavedModels, source: RequestSource) -> None:
    interruption = Interruption()
    threading.Timer(0.2, interruption.set, ["SIGTERM"]).start()
    model = saved_models.path("half_plus_two_tf2")
    report = run_validation(model, SPEC, requests=source, interruption=interruption)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.INTERRUPTED)
