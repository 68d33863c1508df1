"""``make mutants``: puts every mutant of the named modules before its tests; fails if too many live, or one whose life nobody explained.

.venv-mutants/bin/python -m tools.mutation [--survivors] [MODULE ...]

With ``--survivors`` only those that lived last time without an answer are tried again, while tests are written.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import pathlib
import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import yaml

from tools.mutation.mutants import Mutant, mutants_of

ROOT = pathlib.Path(__file__).parents[2]
SETTINGS = ROOT / "component_tests" / "mutants.yaml"
SIDE_BY_SIDE = 2
AT_LEAST = 85  # percent killed, of each module

#: Where a module's survivors without an answer are noted as soon as they are known, a JSON list a line: file, lines before and after.
SURVIVORS = ROOT / ".cache" / "mutants"


class TestProcess:
    """The process of the project's environment that runs tests on mutants."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [ROOT / ".venv" / "bin" / "python", "-m", "tools.mutation.forks"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, file: str, source: str, tests: list[str], cpu_seconds: float, seconds: float) -> dict[str, Any]:
        """What becomes of the tests with this source in place of a file's; see ``forks.carry_out``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        task = {"file": file, "source": source, "tests": tests, "cpu_seconds": cpu_seconds, "seconds": seconds}
        print(json.dumps(task), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


class Workers:
    """Processes that run tests on mutants side by side, so that one that hangs does not hold up the rest."""

    def __init__(self, count: int) -> None:
        self._threads = concurrent.futures.ThreadPoolExecutor(count)
        self._idle: queue.SimpleQueue[TestProcess] = queue.SimpleQueue()
        for _ in range(count):
            self._idle.put(TestProcess())

    def ask(self, file: str, source: str, tests: list[str], cpu_seconds: float, seconds: float) -> dict[str, Any]:
        """What the next one that is free says; see ``TestProcess.ask``."""
        process = self._idle.get()
        try:
            return process.ask(file, source, tests, cpu_seconds, seconds)
        finally:
            self._idle.put(process)

    def outcomes(self, mutants: list[Mutant], tests: list[str], limits: tuple[float, float]) -> Iterator[str]:
        """What becomes of each mutant, in their order."""

        def outcome(mutant: Mutant) -> str:
            return str(self.ask(mutant.file, mutant.source, tests, *limits)["outcome"])

        return self._threads.map(outcome, mutants)


@dataclasses.dataclass
class Row:
    """A module's line in the table."""

    module: str
    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    answered: int = 0
    seconds: float = 0.0

    @property
    def mutants(self) -> int:
        return sum(self.outcomes.values())

    @property
    def survived(self) -> int:
        return self.outcomes["survived"]

    @property
    def killed(self) -> float:
        """Per cent."""
        return 100 * (self.mutants - self.survived) / max(1, self.mutants)

    @property
    def good(self) -> bool:
        """Whether enough were killed, and every survivor has its answer."""
        return self.killed >= AT_LEAST and self.answered == self.survived

    def __str__(self) -> str:
        return (
            f"{self.module:14} {self.mutants:7} {self.mutants - self.survived:7} {self.outcomes['timeout']:9}"
            f" {self.survived:9} {self.answered:9} {self.killed:7.1f} % {self.seconds:6.0f} s"
        )


HEAD = f"{'module':14} {'mutants':>7} {'killed':>7} {'timed out':>9} {'survived':>9} {'answered':>9} {'killed':>9} {'time':>8}"


def judge(
    module: str,
    tests_of: dict[str, list[str]],
    answers: list[dict[str, str]],
    workers: Workers,
    only: set[tuple[str, str, str]] | None = None,
) -> Row:
    """Put each mutant of a module before its tests, or only some of them; says what survives."""
    row, began, used = Row(module), time.monotonic(), set()
    SURVIVORS.mkdir(parents=True, exist_ok=True)
    noted = (SURVIVORS / module).open("w", buffering=1)
    for file, tests in tests_of.items():
        mutants = [mutant for mutant in mutants_of(file, ROOT) if only is None or _key(mutant) in only]
        if not mutants:
            continue
        sound = workers.ask(file, (ROOT / file).read_text(), tests, 300, 600)
        if sound["outcome"] == "no_tests":
            sys.exit(f"mutants: {' '.join(tests)} holds no test.")
        if sound["outcome"] != "survived":
            sys.exit(f"{sound['output']}\nmutants: the tests of {file} fail without a mutant: mend them first.")
        limits = (10 + 5 * sound["cpu_seconds"], 30 + 10 * sound["seconds"])
        for mutant, outcome in zip(mutants, workers.outcomes(mutants, tests, limits), strict=True):
            row.outcomes[outcome] += 1
            if outcome == "survived":
                answer = _answer(mutant, answers)
                row.answered += answer is not None
                used.add(answer)
                _say(mutant, None if answer is None else answers[answer]["why"])
                if answer is None:
                    print(json.dumps(_key(mutant)), file=noted)
    for number, answer_to in enumerate(answers):
        if number not in used and only is None:
            print(
                f"\nAnswered, but killed or gone: {answer_to['file']}\n  - {answer_to['was']}\n  + {answer_to['becomes']}"
            )
    row.seconds = time.monotonic() - began
    return row


def survivors(module: str) -> set[tuple[str, str, str]]:
    """What lived without an answer in a module's last run."""
    try:
        noted = (SURVIVORS / module).read_text()
    except FileNotFoundError:
        sys.exit(f"mutants: there was no run of {module} yet, so there are no survivors to try again.")
    return {(file, was, becomes) for file, was, becomes in map(json.loads, noted.splitlines())}


def _key(mutant: Mutant) -> tuple[str, str, str]:
    return mutant.file, mutant.was, mutant.becomes


def _answer(mutant: Mutant, answers: list[dict[str, str]]) -> int | None:
    """Which answer is this survivor's."""
    for number, answer in enumerate(answers):
        if (answer["file"], answer["was"], answer["becomes"]) == _key(mutant):
            return number
    return None


def _say(mutant: Mutant, why: str | None) -> None:
    print(
        f"\n{mutant.file}:{mutant.line} {mutant.operator}\n  - {mutant.was}\n  + {mutant.becomes}\n  {why or 'SURVIVED'}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutants", description="Mutation testing; see CONTRIBUTING.md.")
    parser.add_argument("--survivors", action="store_true", help="try only those again that lived last time")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="a module of component_tests/mutants.yaml")
    options = parser.parse_args()
    settings = yaml.safe_load(SETTINGS.read_text())
    modules, answers = settings["modules"], settings["answers"]
    names = options.modules or list(modules)
    unknown = set(names) - set(modules)
    if unknown:
        print(
            f"mutants: there is no module {', '.join(sorted(unknown))}; there are {', '.join(modules)}.",
            file=sys.stderr,
        )
        return 2
    workers, rows = Workers(SIDE_BY_SIDE), []
    for name in names:
        only = survivors(name) if options.survivors else None
        rows.append(judge(name, modules[name], answers.get(name) or [], workers, only))
        print(f"\n{HEAD}\n{rows[-1]}", flush=True)
    if len(rows) > 1:
        whole = Row("in all", sum((row.outcomes for row in rows), collections.Counter()))
        whole.answered, whole.seconds = sum(row.answered for row in rows), sum(row.seconds for row in rows)
        print("\n".join(["", HEAD, *map(str, rows), str(whole)]))
    if options.survivors:
        return int(any(row.answered != row.survived for row in rows))
    bad = [row.module for row in rows if not row.good]
    if bad:
        print(
            f"mutants: {', '.join(bad)}: fewer than {AT_LEAST} % killed, or a survivor without an answer.",
            file=sys.stderr,
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
