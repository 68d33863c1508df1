"""The published contract tests find what they are there to find: each implementation here is broken in one way."""

from __future__ import annotations

import os

import pytest

from component_tests.fakes.saved_models import ROOT

pytest_plugins = ["pytester"]

RUNNERS = """
import subprocess, sys, threading, time
from infra_validator import ServingSpec
from infra_validator.core.states import Observation
from infra_validator.model_server_runners.cleanup.watchdog import Watchdog
from infra_validator.model_server_runners.local_process.runner import LocalProcessRunner
from infra_validator.testing.contracts import KilledValidatorContract, ModelServerRunnerContract

class Contract(ModelServerRunnerContract):
    kind = LocalProcessRunner
    seconds = 3.0
    def make_runner(self, server, model):
        return self.kind(model, server, ServingSpec.of({"tensorflow_serving": {}, "local_process": {}}))

class Leaks(LocalProcessRunner):
    def _launch(self):
        super()._launch()
        environment = {**self._environment, **self.plan.env}
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=environment)

class TestLeaks(Contract):
    kind = Leaks

class LeavesAFile(LocalProcessRunner):
    def _launch(self):
        import tempfile
        super()._launch()
        tempfile.mkstemp()

class TestLeavesAFile(Contract):
    kind = LeavesAFile

class HangsInStop(LocalProcessRunner):
    def _launch(self):
        super()._launch()
        self.register_cleanup("sleep", lambda deadline: time.sleep(30))

class TestHangsInStop(Contract):
    kind = HangsInStop

class RaisesInStop(LocalProcessRunner):
    def _launch(self):
        super()._launch()
        self.register_cleanup("divide", lambda deadline: 1 / 0)

class TestRaisesInStop(Contract):
    kind = RaisesInStop

class LiesAboutTheEnd(LocalProcessRunner):
    def _look(self):
        seen = super()._look()
        return Observation.running() if seen.life.value == "gone" else seen

class TestLiesAboutTheEnd(Contract):
    kind = LiesAboutTheEnd

class SaysNothingOfTheEnd(LocalProcessRunner):
    def _on_end(self, seen, status):
        super()._on_end(Observation.gone(seen.reason, "it ended"), status)

class TestSaysNothingOfTheEnd(Contract):
    kind = SaysNothingOfTheEnd

class StartsWhenMade(LocalProcessRunner):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        environment = {**self._environment, **self.plan.env}
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=environment)

class TestStartsWhenMade(Contract):
    kind = StartsWhenMade

class NoWatchdog(LocalProcessRunner):
    def _launch(self):
        super()._launch()
        self._watchdog._process.kill()

class TestNoWatchdog(KilledValidatorContract):
    seconds = 3.0
    def make_runner(self, server, model):
        return NoWatchdog(model, server, ServingSpec.of({"tensorflow_serving": {}, "local_process": {}}))
"""

CLIENTS = """
import contextlib, itertools
from component_tests.contract.client_kinds import CLIENT_KINDS
from component_tests.fakes.servers.scripted_server import Script, serving
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import ModelStatus, ModelStatusReport
from infra_validator.model_server_clients.base_client import unwatched
from infra_validator.model_server_clients.tensorflow_serving import TensorFlowServingClient
from infra_validator.testing.contracts import ModelServerClientContract

KIND = CLIENT_KINDS[0]

class Contract(ModelServerClientContract):
    client = TensorFlowServingClient
    def make_client(self, endpoint):
        return self.client(endpoint, "m", 1)
    def make_script(self, model="ready"):
        return Script(model)
    @contextlib.contextmanager
    def serving(self, script):
        with serving(KIND.handlers(script)) as (endpoint, _):
            yield endpoint
    def make_request(self, text, label):
        return SampleRequest(KIND.inference, "serving_default", text.encode(), label)

class AlwaysReady(TensorFlowServingClient):
    def GetModelStatus(self, deadline):
        return ModelStatusReport(ModelStatus.READY)

class TestAlwaysReady(Contract):
    client = AlwaysReady

class TakesAllAtOnce(TensorFlowServingClient):
    def SendRequests(self, requests, deadline, job=unwatched, concurrency=8):
        return super().SendRequests(list(itertools.islice(requests, 1000)), deadline, job, concurrency)

class TestTakesAllAtOnce(Contract):
    client = TakesAllAtOnce

class WatchesNoJob(TensorFlowServingClient):
    def SendRequests(self, requests, deadline, job=unwatched, concurrency=8):
        return super().SendRequests(requests, deadline.capped(3), unwatched, concurrency)

class TestWatchesNoJob(Contract):
    client = WatchesNoJob

class ShowsNoAnswers(TensorFlowServingClient):
    def SendRequests(self, *arguments, **named):
        self.on_answer = None
        return super().SendRequests(*arguments, **named)

class TestShowsNoAnswers(Contract):
    client = ShowsNoAnswers

class CountsWrongly(TensorFlowServingClient):
    def SendRequests(self, *arguments, **named):
        return super().SendRequests(*arguments, **named) + 1

class TestCountsWrongly(Contract):
    client = CountsWrongly
"""


def failures(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, module: str, select: str) -> set[str]:
    """The tests that fail when the class is asked."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{pytester.path}")
    pytester.makepyfile(test_broken=module)
    result = pytester.runpytest_subprocess(
        "-q", "-rfE", "-p", "no:cacheprovider", f"test_broken.py::{select}", timeout=240
    )
    lines = [line for line in result.outlines if line.startswith(("FAILED ", "ERROR "))]
    return {line.split("::")[2].split(" ")[0].split("[")[0] for line in lines}


@pytest.mark.parametrize(
    ("broken", "test", "others_pass"),
    [
        ("TestLeaks", "test_the_way_of_a_job", "test_nothing_is_possible_before_start"),
        ("TestLeavesAFile", "test_stop_right_after_start", "test_nothing_is_possible_before_start"),
        ("TestHangsInStop::test_stop_right_after_start", "test_stop_right_after_start", ""),
        ("TestRaisesInStop", "test_a_runner_is_used_once", "test_nothing_is_possible_before_start"),
        ("TestLiesAboutTheEnd::test_an_end_has_its_cause", "test_an_end_has_its_cause", ""),
        ("TestLiesAboutTheEnd::test_an_end_is_news", "test_an_end_is_news", ""),
        ("TestSaysNothingOfTheEnd", "test_an_end_has_its_cause", "test_stop_right_after_start"),
        ("TestStartsWhenMade", "test_a_runner_that_is_made_has_done_nothing", ""),
        ("TestNoWatchdog", "test_a_validator_that_is_killed_leaves_nothing", ""),
    ],
)
def test_a_broken_runner_fails(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, broken: str, test: str, others_pass: str
) -> None:
    found = failures(pytester, monkeypatch, RUNNERS, broken)
    assert test in found
    assert others_pass not in found


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        ("TestAlwaysReady", "test_a_loading_model_is_waited_for"),
        ("TestTakesAllAtOnce", "test_concurrency_is_used_and_bounded_and_requests_are_made_as_they_are_sent"),
        ("TestWatchesNoJob", "test_the_jobs_end_ends_the_requests"),
        ("TestShowsNoAnswers", "test_every_answer_is_shown_with_its_request"),
        ("TestCountsWrongly", "test_all_requests_are_sent_and_counted"),
    ],
)
def test_a_broken_client_fails(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, broken: str, test: str
) -> None:
    assert failures(pytester, monkeypatch, CLIENTS, f"{broken}::{test}") == ({test})
