"""What goes on in a validation, told as data beside the lines, on the embedded server."""

from __future__ import annotations

import json
import pathlib
import threading

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator.api import run_validation
from infra_validator.core.progress import LoadWentOn, PhaseBegan, PhaseEnded, Progress, RequestAnswered, TriedAgain

SPEC = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}


class Told:
    def __init__(self) -> None:
        self.events: list[Progress] = []
        self._lock = threading.Lock()

    def __call__(self, event: Progress) -> None:
        with self._lock:
            self.events.append(event)


def test_phases_and_requests_are_told_as_they_go(tmp_path: pathlib.Path, saved_models: SavedModels) -> None:
    requests = tmp_path / "requests.json"
    requests.write_text("\n".join(json.dumps({"instances": [number]}) for number in range(20)))
    told = Told()
    report = run_validation(saved_models.path("half_plus_two_tf2"), SPEC, requests=str(requests), tell=told)
    assert report.blessed
    began = [event.phase for event in told.events if isinstance(event, PhaseBegan)]
    ended = [event for event in told.events if isinstance(event, PhaseEnded)]
    assert began == [event.phase for event in ended] == [phase.name for phase in report.serving_binaries[0].phases]
    assert [event.seconds for event in ended] == pytest.approx([p.seconds for p in report.serving_binaries[0].phases])
    assert {event.outcome for event in ended} == {"ok"}
    answered = [event for event in told.events if isinstance(event, RequestAnswered)]
    assert [event.done for event in answered] == list(range(1, 21))
    assert all(0 < event.latency_ms < event.seconds * 1000 for event in answered)
    inside = told.events.index(answered[0])
    assert any(isinstance(e, PhaseBegan) and e.phase == "query" for e in told.events[:inside])


def test_what_is_tried_again_is_told(saved_models: SavedModels) -> None:
    told = Told()
    spec = {"tensorflow_serving": {}, "local_process": {"binary_path": "/bin/false"}, "model_name": "m"}
    report = run_validation(saved_models.path("half_plus_two_tf2"), spec, {"num_tries": 3}, tell=told)
    assert not report.blessed
    again = [event for event in told.events if isinstance(event, TriedAgain)]
    assert [event.of.number for event in again] == list(range(1, len(report.serving_binaries[0].attempts)))
    numbers = {event.of.number for event in told.events}
    assert numbers == set(range(1, len(report.serving_binaries[0].attempts) + 1))


def test_a_load_is_told_as_it_goes(saved_models: SavedModels) -> None:
    told = Told()
    load = {"load": {"seconds": 1.5, "warm_up_seconds": 0.5}}
    report = run_validation(saved_models.path("half_plus_two_tf2"), SPEC, load, {"generate": {}}, tell=told)
    assert report.blessed, report.finding
    loads = [event for event in told.events if isinstance(event, LoadWentOn)]
    assert {event.warm_up for event in loads} == {True, False}
    assert max(event.done for event in loads) > 0
