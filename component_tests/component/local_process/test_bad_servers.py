"""Whole validations with serving binaries that misbehave: the right one of three outcomes each, and nothing left."""

from __future__ import annotations

import pathlib
import shlex
import sys
import tempfile
from collections.abc import Iterable
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator.api import run_validation
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_runners.cleanup.watchdog import marked_processes
from infra_validator.report.verdict import ValidationReport, Verdict

ROOT = pathlib.Path(__file__).parents[3]
BLESSED, NOT_BLESSED, INCONCLUSIVE = Verdict.BLESSED, Verdict.NOT_BLESSED, Verdict.INCONCLUSIVE
CLOSED = {ReasonCode.SERVER_UNHEALTHY, ReasonCode.QUERY_TIMEOUT, ReasonCode.REQUEST_FAILED}


class Validating:
    """Validates a good model with a bad server, in a temporary place of its own."""

    def __init__(self, directory: pathlib.Path, model: str) -> None:
        self.directory = directory
        self.mark = f"BAD_SERVERS={directory}"
        self._model = model

    def binary(self, mode: str) -> str:
        path = self.directory / "tensorflow_model_server"
        server = shlex.join([sys.executable, "-m", "component_tests.fakes.servers.misbehaving_servers", mode])
        path.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {server} "$@"\n')
        path.chmod(0o755)
        return str(path)

    def with_server(
        self, mode: str, *, requests: int = 0, loading: float = 30, querying: float = 30, tries: int = 5, **config: Any
    ) -> ValidationReport:
        def make_requests() -> Iterable[SampleRequest]:
            for number in range(requests):
                yield SampleRequest(
                    "/tensorflow.serving.PredictionService/Predict", "serving_default", b"", f"request {number}"
                )

        name, _, value = self.mark.partition("=")
        return run_validation(
            self._model,
            {
                "tensorflow_serving": {},
                "local_process": {"binary_path": self.binary(mode), "env": {name: value}, **config},
                "model_name": "m",
            },
            {
                "max_loading_time_seconds": loading,
                "max_query_time_seconds": querying,
                "num_tries": tries,
                "stop_grace_seconds": 0.3,
            },
            requests=make_requests if requests else None,
        )


@pytest.fixture
def validating(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, saved_models: SavedModels) -> Validating:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return Validating(tmp_path, str(saved_models.path("half_plus_two")))


R = ReasonCode


@pytest.mark.parametrize(
    ("mode", "settings", "verdict", "reasons", "attempts"),
    [
        ("good", {"requests": 3}, BLESSED, {R.BLESSED}, 1),
        ("exits_0", {}, NOT_BLESSED, {R.SERVER_EXITED}, 2),
        ("exits_1", {}, NOT_BLESSED, {R.SERVER_EXITED}, 2),
        ("load_failed", {}, NOT_BLESSED, {R.OP_NOT_REGISTERED}, 1),
        ("segfault", {}, NOT_BLESSED, {R.SERVER_KILLED}, 2),
        ("port_in_use", {"tries": 1}, INCONCLUSIVE, {R.PORT_NOT_AVAILABLE}, 3),
        ("mute", {"loading": 0.5, "tries": 2}, NOT_BLESSED, {R.LOAD_TIMEOUT}, 2),
        ("deaf", {"loading": 0.7, "tries": 1}, NOT_BLESSED, {R.LOAD_TIMEOUT, R.SERVER_UNHEALTHY}, 1),
        ("slow", {"loading": 1, "tries": 1}, NOT_BLESSED, {R.LOAD_TIMEOUT, R.SERVER_UNHEALTHY}, 1),
        ("garbage", {"loading": 5, "tries": 1}, NOT_BLESSED, {R.SERVER_UNHEALTHY}, 1),
        ("never_available", {"loading": 1.5, "tries": 1}, NOT_BLESSED, {R.LOAD_TIMEOUT}, 1),
        ("ends_with_error", {}, NOT_BLESSED, {R.MODEL_UNAVAILABLE, R.OP_NOT_REGISTERED}, 1),
        ("late", {}, BLESSED, {R.BLESSED}, 1),
        ("chatty", {}, BLESSED, {R.BLESSED}, 1),
        ("ignores_sigterm", {}, BLESSED, {R.BLESSED}, 1),
        ("forks", {}, BLESSED, {R.BLESSED}, 1),
        ("leaves_children", {}, NOT_BLESSED, {R.SERVER_EXITED}, 2),
        ("fails_predict", {"requests": 3}, NOT_BLESSED, {R.REQUEST_FAILED}, 1),
        ("dies_at_predict", {"requests": 3}, NOT_BLESSED, {R.SERVER_EXITED}, 2),
        ("closes_port", {"requests": 5000, "querying": 2, "tries": 1}, NOT_BLESSED, CLOSED, 1),
        ("eats_memory", {"memory_limit": "200m"}, NOT_BLESSED, {R.SERVER_OUT_OF_MEMORY}, 1),
    ],
)  # fmt: skip
def test_a_misbehaving_server_gets_its_verdict(
    validating: Validating,
    mode: str,
    settings: dict[str, Any],
    verdict: Verdict,
    reasons: set[ReasonCode],
    attempts: int,
) -> None:
    report = validating.with_server(mode, **settings)
    told = f"{report.finding.reason.name}: {report.finding.sentence}"
    assert report.verdict is verdict, told
    assert report.finding.reason in reasons, told
    assert len(report.serving_binaries[0].attempts) == attempts
    assert all(attempt.left_behind == () for attempt in report.serving_binaries[0].attempts)
    assert marked_processes(validating.mark) == []
    assert list((validating.directory / "temporary").iterdir()) == []


def test_the_server_s_last_words_are_in_the_report(validating: Validating) -> None:
    report = validating.with_server("exits_1", tries=1)
    assert "exit code 1" in report.finding.sentence
    assert "the moon is full" in report.serving_binaries[0].attempts[0].server_log
