"""Fuzzes every target for its share of the time with atheris, and prints inputs tried, coverage and crashes.

    python -m component_tests.fuzz --seconds 3600 [--inputs 1000] [--jobs 2] [TARGET ...]

What is interesting is kept in .cache/fuzz, where the next run begins; inputs that crash are written to .cache/fuzz/crashes. Exit
code 1: something crashed, took 25 seconds for one input, or 2 GiB.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import pathlib
import re
import signal
import sys
import time
import traceback

import atheris

with atheris.instrument_imports(include=["infra_validator"], enable_loader_override=False):
    from component_tests.fuzz.targets import TARGETS

from component_tests.fuzz.target import CORPUS

_CACHE = pathlib.Path(__file__).parents[2] / ".cache" / "fuzz"
_LATE_SECONDS = 240.0  # what a target may take beyond its share: the inputs that are kept, the last input


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one target.

    Attributes:
      name: the target.
      tried: how many inputs it was given.
      covered: edges of the product's code that the kept inputs reached, and those at the end.
      added: how many inputs reached something new.
      crash: the file of the input that crashed it; empty where none did.
      words: what was said of it.
    """

    name: str
    tried: int
    covered: tuple[int, int]
    added: int
    crash: str
    words: str


class Run:
    """One target's run, in a process of its own: a fork of this one, which has imported everything."""

    def __init__(self, name: str, seconds: float, inputs: int) -> None:
        self._name = name
        self._seconds = seconds
        self._inputs = inputs
        self._log = _CACHE / "logs" / name
        self._end = time.monotonic() + seconds + _LATE_SECONDS
        for directory in (_CACHE / name, _CACHE / "crashes", self._log.parent):
            directory.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        self._pid = os.fork()
        if self._pid == 0:
            self._fuzz()

    def _fuzz(self) -> None:
        """In the child; never returns. A crash is a SystemExit, at which libFuzzer writes the input."""
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        arguments = [
            *("fuzz", str(_CACHE / self._name), str(CORPUS / self._name)),
            *(f"-max_total_time={max(1, round(self._seconds))}", "-max_len=4096", "-timeout=25", "-rss_limit_mb=2048"),
            *((f"-runs={self._inputs}", "-seed=1") if self._inputs else ()),
            *("-print_final_stats=1", f"-artifact_prefix={_CACHE}/crashes/{self._name}-"),
        ]
        try:
            with atheris.instrument_imports(include=["infra_validator"], enable_loader_override=False):
                for path in TARGETS[self._name].corpus():
                    TARGETS[self._name](path.read_bytes())  # imports what is needed later only
                atheris.Setup(arguments, TARGETS[self._name])
                atheris.Fuzz()
        except Exception:
            print(f"Uncaught Python exception at {path}, which is kept\n{traceback.format_exc()}", flush=True)
            os._exit(1)

    def outcome(self) -> Outcome | None:
        """What came of it; None while it runs."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0 and time.monotonic() < self._end:
            return None
        if pid == 0:
            os.kill(self._pid, signal.SIGKILL)
            status = os.waitpid(self._pid, 0)[1]
        return self._read(os.waitstatus_to_exitcode(status))

    def _read(self, code: int) -> Outcome:
        text = self._log.read_text(errors="replace")
        covered = [int(number) for number in re.findall(r"\bcov: (\d+)", text)] or [0]
        tried = re.findall(r"stat::number_of_executed_units: +(\d+)", text) or re.findall(r"(?m)^#(\d+)", text) or ["0"]
        added = re.findall(r"stat::new_units_added: +(\d+)", text) or ["0"]
        written = re.findall(r"Test unit written to (\S+)", text) or [f"(exit code {code}, no input was written)"]
        at = text.find("Uncaught Python exception")
        return Outcome(
            self._name,
            int(tried[-1]),
            (covered[0], covered[-1]),
            int(added[-1]),
            written[-1] if code != 0 else "",
            text[at : at + 3000] if at >= 0 else text[-1500:],
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"default: all ({', '.join(TARGETS)})")
    parser.add_argument("--seconds", type=float, default=3600.0, help="in all (default: %(default)s)")
    parser.add_argument(
        "--inputs", type=int, default=0, help="at most so many a target, the same ones from the same beginning"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once (default: processors)")
    given = parser.parse_args()
    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    logging.disable(logging.CRITICAL)
    waiting = given.targets or list(TARGETS)
    share = given.seconds * min(given.jobs, len(waiting)) / len(waiting)
    print(f"{'target':24}{'inputs tried':>14}{'coverage':>10}{'new':>7}{'new inputs':>12}  crash", flush=True)
    running: list[Run] = []
    outcomes: list[Outcome] = []
    while waiting or running:
        while waiting and len(running) < given.jobs:
            running.append(Run(waiting.pop(0), share, given.inputs))
        for run in tuple(running):
            outcome = run.outcome()
            if outcome is not None:
                running.remove(run)
                outcomes.append(outcome)
                _print(outcome)
        time.sleep(0.05)
    return _summed_up(outcomes)


def _print(outcome: Outcome) -> None:
    before, after = outcome.covered
    line = f"{outcome.name:24}{outcome.tried:>14,}{after:>10}{after - before:>7}{outcome.added:>12}  {outcome.crash}"
    print(line.rstrip(), flush=True)


def _summed_up(outcomes: list[Outcome]) -> int:
    crashed = [outcome for outcome in outcomes if outcome.crash]
    idle = [outcome.name for outcome in outcomes if not outcome.tried and not outcome.crash]
    for outcome in crashed:
        print(f"\n{outcome.name}: {outcome.crash}\n{outcome.words}", flush=True)
    tried, new = sum(one.tried for one in outcomes), sum(one.covered[1] - one.covered[0] for one in outcomes)
    print(f"\n{len(outcomes)} targets, {tried:,} inputs tried, {new} edges newly covered, {len(crashed)} crashes")
    if idle:
        print(f"not fuzzed at all: {', '.join(idle)}")
    return 1 if crashed or idle else 0


if __name__ == "__main__":
    sys.exit(main())
