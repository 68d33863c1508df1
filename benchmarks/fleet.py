"""A fleet in one process beside a command for each model: wall time and processor time a model.

    python -m benchmarks.fleet [--models 200] [--singles 20]

The models are copies of a small good one, with a bad one among every ten. Where fewer single commands run than there are models, theirs is
scaled, and the table says so. Both validate two models at once.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from component_tests.fakes.saved_models import made_once

SPEC = '{"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}'
AT_ONCE = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--singles", type=int, default=20)
    arguments = parser.parse_args()
    made = made_once()
    with tempfile.TemporaryDirectory() as root:
        models = pathlib.Path(root, "models")
        for number in range(arguments.models):
            name = "nan" if number % 10 == 9 else "half_plus_two"
            shutil.copytree(made.path(name), models / f"model-{number:04}" / "1")
        kept = pathlib.Path(root, "out")
        fleet = _measured(lambda: _fleet(models, kept))
        told = json.loads((kept / "fleet.json").read_text())["counts"]
        some = sorted(models.iterdir())[: arguments.singles]
        single = _measured(lambda: _singles(some))
    scale = arguments.models / len(some)
    good = arguments.models - arguments.models // 10
    assert told == {"BLESSED": good, "NOT_BLESSED": arguments.models // 10, "INCONCLUSIVE": 0}, told
    rows = [
        ("one fleet", fleet[0], fleet[1], 1.0),
        (
            f"{len(some)} single commands, scaled to {arguments.models}",
            *(scale * one for one in single),
            scale * single[0] / fleet[0],
        ),
    ]
    print(f"{arguments.models} models, {AT_ONCE} at once, {os.cpu_count()} processors")
    for name, wall, used, times in rows:
        print(f"  {name:<48} {wall:8.1f} s   {used:8.1f} s of processors   x {times:.2f}")
    return 0


def _fleet(models: pathlib.Path, kept: pathlib.Path) -> None:
    _run("--models", str(models), "--at-once", str(AT_ONCE), "--output", str(kept))


def _singles(models: list[pathlib.Path]) -> None:
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda model: _run("--model", str(model)), models))


def _run(*arguments: str) -> None:
    command = [
        sys.executable,
        "-m",
        "infra_validator",
        "validate",
        "--serving-spec",
        SPEC,
        "--generate",
        "--quiet",
        *arguments,
    ]
    code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    assert code in (0, 1), code


def _measured(work: Callable[[], None]) -> tuple[float, float]:
    """(wall seconds, seconds of processors of all children)."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    work()
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
