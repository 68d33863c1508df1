"""The soak in short: every verdict and every answer right, nothing that grows. ``make soak`` is the long one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.soak.measuring import Held, growth
from component_tests.fakes.saved_models import ROOT


def soak(*arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.soak", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "WRONG" not in ended.stdout
    return ended.stdout


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_validations_leave_nothing_behind() -> None:
    told = soak("--validations", "60", "--round-of", "10", "--warm-up", "20", "--minutes", "0")
    assert "BLESSED" in told
    assert "NOT_BLESSED SERVER_EXITED" in told
    assert "drift per 60 validations" in told


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_a_server_under_load_answers_right_while_its_model_is_loaded_anew() -> None:
    told = soak("--validations", "0", "--minutes", "0.3")
    assert "        0 errors" in told
    ways = ("gRPC, Predict", "gRPC, Predict, large", "gRPC, ModelInfer", "REST, v1 predict", "REST, v2 infer")
    for way in ways:
        assert f" {way}\n" in told
    assert int(told.split(" versions that answered")[0].split()[-1]) > 1


def test_what_is_left_behind_is_a_drift() -> None:
    leaking = [Held(float(done), 40 + done / 100, 5 + done // 50, 7, 0, done, 0.0) for done in range(0, 200, 10)]
    grown = growth(leaking, 1000)
    assert grown["memory"] == pytest.approx(10)
    assert grown["threads"] == pytest.approx(20)
    assert grown["files"] == pytest.approx(1000)
    assert grown["descriptors"] == grown["children"] == grown["space"] == 0
