"""A validator that a test kills: holds a runner whose server runs, says ``running``, and goes on until it is killed.

python -m infra_validator.testing.contracts.holder MODULE CLASS DIRECTORY MODE
"""

from __future__ import annotations

import importlib
import pathlib
import sys
import time
from typing import Any

from infra_validator.core.deadline import Deadline


def main() -> None:
    module, name, directory, mode = sys.argv[1:]
    hooks: Any = getattr(importlib.import_module(module), name)()
    hooks.begin(pathlib.Path(directory))
    runner = hooks.runner(mode)
    runner.Start()
    runner.WaitUntilRunning(Deadline.after(hooks.seconds))
    sys.stdout.write("running\n")
    sys.stdout.flush()
    time.sleep(3600)


if __name__ == "__main__":
    main()
