"""A validator as a program of its own, for what befalls validators.

    python -m component_tests.faults.validators.executor JOB

JOB is the path of a JSON file: ``model``, ``spec``, ``validation_spec``, ``faults`` (the directory that is shared with the test) and
``hold``: the phase of an attempt at whose beginning it stands still until the file ``go`` is there, or empty. SIGUSR1 has it fork a child
that lives on and writes its process id to ``child``. Each phase makes the file ``PHASE.reached``. It
prints what the command line would decide, as JSON.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sys
import time

from component_tests.faults.validators.requests import requests
from infra_validator.api import run_validation
from infra_validator.core.progress import PhaseBegan, Progress
from infra_validator.core.signals.interruption import Interruption
from infra_validator.core.signals.shutdown_signals import shutdown_signals


def main() -> None:
    with open(sys.argv[1]) as file:
        job = json.load(file)
    faults = pathlib.Path(job["faults"])

    def fork(*_: object) -> None:
        if os.fork() == 0:
            (faults / "child.new").write_text(str(os.getpid()))
            (faults / "child.new").rename(faults / "child")
            while True:
                time.sleep(3600)

    def tell(event: Progress) -> None:
        if isinstance(event, PhaseBegan):
            (faults / f"{event.phase}.reached").touch()
        if isinstance(event, PhaseBegan) and event.phase == job["hold"]:
            while not (faults / "go").exists():
                time.sleep(0.01)

    signal.signal(signal.SIGUSR1, fork)
    interruption = Interruption()
    with shutdown_signals(interruption, until_exit=True):
        report = run_validation(
            job["model"], job["spec"], job["validation_spec"], requests=requests, interruption=interruption, tell=tell
        )
    sys.stdout.write(
        json.dumps(
            {
                "verdict": report.verdict.value,
                "reason": report.finding.reason.name,
                "detail": report.finding.detail,
                "left_behind": [left for b in report.serving_binaries for a in b.attempts for left in a.left_behind],
            }
        )
        + "\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
