"""What 1,000 validations in one process leave behind, and what an embedded server gains while it serves.

    python -m benchmarks.soak [--validations 1000] [--containers] [--round-of 50] [--warm-up 200] [--minutes 30]

Prints what is held after each round and the drift after the warm-up; ends with 1 if a verdict or an answer was wrong, or if more is held
than allowed: memory 5 MiB, and no thread, descriptor, child, temporary file or container. ``--validations 0`` or ``--minutes 0`` leaves a
half out.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import tempfile

from benchmarks.soak.measuring import HEAD, Held, growth, told
from benchmarks.soak.serving import Serving
from benchmarks.soak.validations import AT_ONCE, Soak

MOST_MEMORY = 5.0  # MiB more, for each 1,000 validations and for the server's time


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--validations", type=int, default=1000)
    parser.add_argument("--containers", action="store_true", help="one of 25 validations on the Docker daemon")
    parser.add_argument("--round-of", type=int, default=50)
    parser.add_argument("--warm-up", type=int, default=200, help="validations before what is held is compared")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long the embedded server is under load")
    arguments = parser.parse_args()
    fine = True
    with tempfile.TemporaryDirectory(prefix="soak-") as root:
        if arguments.validations:
            soak = Soak(pathlib.Path(root), arguments.containers)
            fine &= validations(soak, arguments.validations, arguments.round_of, arguments.warm_up)
        if arguments.minutes:
            fine &= serving(pathlib.Path(root), arguments.minutes * 60)
    return 0 if fine else 1


def validations(soak: Soak, count: int, round_of: int, warm_up: int) -> bool:
    tempfile.tempdir = os.environ["TMPDIR"] = str(soak.temporary)
    print(f"{count} validations in one process, {AT_ONCE} at once, {os.cpu_count()} processors\n{HEAD}", flush=True)
    soak.run(count, round_of)
    for outcome, number in sorted(soak.found.items()):
        print(f"  {number:>5} {outcome}")
    for wrong in soak.wrong:
        print(f"WRONG: {wrong}")
    each = min(count, 1000)
    return flat(soak.seen, warm_up, each, f"{each:,} validations") and not soak.wrong


def serving(directory: pathlib.Path, seconds: float) -> bool:
    under = Serving(directory)
    print(
        f"the embedded server under mixed load for {seconds / 60:g} minutes, {os.cpu_count()} processors\n{HEAD}",
        flush=True,
    )
    under.run(seconds)
    for way, number in sorted(under.answered.items()):
        print(f"  {number:>9} {way}")
    print(f"  {len(under.wrong):>9} errors")
    for wrong in under.wrong[:20]:
        print(f"WRONG: {wrong}")
    warm_up = max(60.0, seconds / 4)  # seconds; the threads that a server has for the load come with it
    return flat(under.seen, warm_up, seconds - warm_up, f"{seconds - warm_up:.0f} s") and not under.wrong


def flat(seen: list[Held], warm_up: float, each: float, unit: str) -> bool:
    """Say how much more is held, after the warm-up; whether it is as little as allowed."""
    after = [one for one in seen if one.done >= warm_up]
    if len(after) < 2:
        print("too short to tell a drift")
        return True
    grown = growth(after, each)
    print(told(grown, unit), flush=True)
    return grown.pop("memory") < MOST_MEMORY and all(more <= 0 for more in grown.values())


if __name__ == "__main__":
    sys.exit(main())
