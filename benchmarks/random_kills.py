"""Validators that are killed by SIGKILL at random moments, and what they leave.

    tools/with_dockerd.sh python -m benchmarks.random_kills [--times 100] [--platforms local_process,kubernetes,local_docker] [--seed N]

Each validator is killed at a random moment between its first phase and its end: on real processes, on a fake cluster whose pods are
processes, on a Docker daemon. Then nobody helps: its watchdog clears up. The table tells in which phases they were killed, how often
something was left (processes, pods, containers, temporary files) when nobody waited any longer, and the longest time until nothing was
left. Exits with 1 if something was left.
"""

from __future__ import annotations

import argparse
import collections
import pathlib
import random
import sys
import tempfile

from benchmarks.table import print_columns
from component_tests.fakes.saved_models import made_once
from component_tests.faults.cells import PLATFORMS
from component_tests.faults.validators.kills import Killed, Killer


def row(platform: str, kills: list[Killed]) -> list[str]:
    """The table's row for one platform."""
    phases = collections.Counter(kill.phase for kill in kills)
    seconds = sorted(kill.seconds for kill in kills)
    left = sum(bool(kill.left) for kill in kills)
    reached = ", ".join(f"{phase} {count}" for phase, count in phases.most_common())
    return [platform, str(len(kills)), str(left), f"{seconds[len(kills) // 2]:.2f}", f"{seconds[-1]:.2f}", reached]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=100, help="kills on each platform")
    parser.add_argument("--platforms", default=",".join(PLATFORMS))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randint(0, 10**6))
    arguments = parser.parse_args()
    print(f"--seed {arguments.seed}")
    model = made_once().path("half_plus_two_tf2")
    rows, something_left = [], False
    for platform in arguments.platforms.split(","):
        with tempfile.TemporaryDirectory(prefix="random-kills-") as directory:
            killer = Killer(platform, model, pathlib.Path(directory), random.Random(arguments.seed))
            kills = []
            for number in range(arguments.times):
                kills.append(killer.kill())
                something_left |= bool(kills[-1].left)
                print(f"{platform} {number + 1}: {kills[-1]}", file=sys.stderr, flush=True)
        rows.append(row(platform, kills))
    print_columns(["platform", "kills", "left something", "median s", "longest s", "killed in"], rows)
    sys.exit(something_left)


if __name__ == "__main__":
    main()
