"""A process that holds a runner through a job's life, for tests that kill it.

    python -m component_tests.fakes.runner_holder MODEL MODE [fork]

Prints a line at each phase and goes on when it is given a line; at the end it waits to be killed. With ``fork`` it has a forked
child that holds whatever it held at the fork.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time

from component_tests.fakes.planners import misbehaving
from infra_validator.core.deadline import Deadline
from infra_validator.model_server_runners.local_process.runner import LocalProcessRunner
from infra_validator.specs import ServingSpec


def main() -> None:
    model, mode, *options = sys.argv[1:]
    runner = LocalProcessRunner(
        model, misbehaving(mode), ServingSpec.of({"tensorflow_serving": {}, "local_process": {}})
    )
    tempfile.gettempdir()  # Python tries the directory with a file of its own, once; a kill just then leaves that file
    print("made", flush=True)
    runner.Start()
    print("started", flush=True)
    if "fork" in options and os.fork() == 0:
        time.sleep(3600)
    runner.WaitUntilRunning(Deadline.after(30))
    print("running", flush=True)
    time.sleep(3600)


if __name__ == "__main__":
    main()
