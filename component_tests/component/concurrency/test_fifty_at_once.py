"""Fifty validations at once, in threads and in processes, on real servers: every verdict is right, and none for lack of time."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator.api import run_validation
from infra_validator.core.progress import PhaseBegan, PhaseEnded, Progress
from infra_validator.model_server_runners.cleanup.watchdog import marked_processes
from infra_validator.report.verdict import ValidationReport

pytestmark = [pytest.mark.stress, pytest.mark.timeout(1800)]

SPEC = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}
FIFTY = 50
AT_ONCE = 4
EXPECTED = {
    "half_plus_two_tf2": ("BLESSED", "BLESSED"),
    "nan": ("NOT_BLESSED", "ANSWER_NOT_FINITE"),
    "unknown_op": ("NOT_BLESSED", "OP_NOT_REGISTERED"),
    "no_variables": ("BLESSED", "BLESSED"),
    "half_plus_two": ("BLESSED", "BLESSED"),
}
MODELS = [name for _ in range(FIFTY // len(EXPECTED)) for name in EXPECTED]


@pytest.fixture(autouse=True)
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFRA_VALIDATOR_SERVERS_AT_ONCE", str(AT_ONCE))


class AtWork:
    """How many attempts are between their wait and their end, and the most there were."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._lock = threading.Lock()

    def tell(self, event: Progress) -> None:
        with self._lock:
            if isinstance(event, PhaseBegan) and event.phase == "prepare":
                self._now += 1
                self.most = max(self.most, self._now)
            elif isinstance(event, PhaseEnded) and event.phase == "stop":
                self._now -= 1


def test_in_threads(saved_models: SavedModels) -> None:
    at_work = AtWork()

    def validated(name: str) -> ValidationReport:
        return run_validation(saved_models.path(name), SPEC, request_spec={"generate": {}}, tell=at_work.tell)

    with concurrent.futures.ThreadPoolExecutor(FIFTY) as pool:
        reports = list(pool.map(validated, MODELS))
    assert [(r.verdict.value, r.finding.reason.name) for r in reports] == [EXPECTED[name] for name in MODELS]
    assert 1 <= at_work.most <= AT_ONCE
    waited = [r for r in reports if any(phase.name == "wait" for phase in r.serving_binaries[0].phases)]
    assert len(waited) >= FIFTY - 2 * AT_ONCE
    assert not [warning for r in reports for warning in r.warnings if "slot" in warning]


def test_in_processes(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    most = 0
    with contextlib.ExitStack() as closing:
        processes = []
        for number, name in enumerate(MODELS):
            command = [
                sys.executable,
                "-m",
                "infra_validator",
                "validate",
                "--model",
                str(saved_models.path(name)),
                "--generate",
            ]
            command += ["--serving-spec", json.dumps(SPEC), "--output", str(tmp_path / str(number))]
            process = closing.enter_context(
                subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            closing.callback(process.kill)
            processes.append(process)
        while any(process.poll() is None for process in processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                next(process for process in processes if process.poll() is None).wait(0.2)
            most = max(most, servers(temporary))
    told = [json.loads((tmp_path / str(number) / "verdict.json").read_text()) for number in range(FIFTY)]
    assert [(one["verdict"], one["reason_code"]) for one in told] == [EXPECTED[name] for name in MODELS]
    assert [process.returncode for process in processes] == [0 if EXPECTED[n][0] == "BLESSED" else 1 for n in MODELS]
    assert 1 <= most <= AT_ONCE
    phases = collections.Counter(phase["name"] for one in told for phase in one["serving_binaries"][0]["phases"])
    assert phases["wait"] >= 1
    assert list(temporary.iterdir()) == []


def servers(temporary: pathlib.Path) -> int:
    """How many embedded servers run there."""
    count = 0
    for pid in marked_processes(f"TMPDIR={temporary}"):
        with contextlib.suppress(OSError):
            line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            count += b"embedded_server" in line
    return count
