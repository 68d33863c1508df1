"""What the log of an Open Inference server is taken to say."""

from __future__ import annotations

import pytest

from infra_validator.core.reason_codes import ReasonCode
from infra_validator.serving_binaries.open_inference_log import explain

BEGINS = """INFO:     Waiting for application startup.
Process Worker-1:
Traceback (most recent call last):
  File "/usr/lib/python3.12/multiprocessing/process.py", line 314, in _bootstrap
    self.run()
  File "/env/lib/python3.12/site-packages/mlserver/parallel/worker.py", line 70, in run
    self._ignore_signals()
"""
OF_UVLOOP = """  File "/env/lib/python3.12/site-packages/uvloop/__init__.py", line 206, in get_event_loop
    raise RuntimeError(
RuntimeError: There is no current event loop in thread 'MainThread'.
2026-01-01 10:00:00,000 [mlserver.parallel] WARNING - Worker with PID 12 stopped unexpectedly with exit code 256.
"""
OF_THE_MODEL = """  File "/models/iris/1/runtime.py", line 3, in load
    raise RuntimeError("There is no current event loop")
RuntimeError: There is no current event loop
"""


def test_a_worker_that_ended_before_any_model_is_the_servers_fault() -> None:
    found = explain(BEGINS + OF_UVLOOP)
    assert found is not None
    assert found[0] is ReasonCode.SERVER_BROKEN
    assert "Its process Worker-1 ended: RuntimeError: There is no current event loop" in found[1]
    assert found[1].endswith("install uvloop<0.22.")


@pytest.mark.parametrize(
    "log",
    [
        "",
        BEGINS + OF_THE_MODEL,  # a model's own code may start processes, and fail in any words
        OF_UVLOOP,
        "Process Worker-1:\nTraceback (most recent call last):\nMemoryError",
    ],
)
def test_what_a_model_may_have_caused_is_not_explained(log: str) -> None:
    assert explain(log) is None
