"""``infra-validator report``: a page, JUnit or Markdown of verdicts that were written before."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from infra_validator.core.errors import InfrastructureError, UsageError
from infra_validator.report.formats.every_format import FORMATS
from infra_validator.report.output_directory import remove_verdict_file, write_verdict_file
from infra_validator.report.verdict import Verdict

_DONE, _WRONG_USAGE, _NOT_ALL = 0, 2, 3
_VERDICT = "verdict.json"

Told = tuple[pathlib.Path, Mapping[str, Any]]


class _Unreadable(Exception):
    """Why a file is no verdict, in one sentence."""


def main(argv: Sequence[str]) -> int:
    """Run the command: 0 all are shown; 2 wrong usage, or no file could be read; 3 some could not, the others are shown."""
    parser = argparse.ArgumentParser(
        prog="infra-validator report",
        description="Make a report of a verdict.json of any version, or one report of several: how latency, load time, memory and size "
        "went over time.",
        epilog="exit codes: 0 all verdicts are shown; 2 wrong usage, or none could be read; 3 some could not be read (stderr names "
        "them), the others are shown",
        allow_abbrev=False,
    )
    parser.add_argument(
        "verdicts",
        nargs="*",
        metavar="PATH",
        help="a verdict.json, a directory (--output's, a blessing) that holds one, or a directory with several below it",
    )
    parser.add_argument(
        "--history", action="append", default=[], metavar="DIR", help="all verdict.json files below DIR"
    )
    parser.add_argument(
        "--merge",
        action="store_true",
        help="one report of the parts of a fleet (validate --models --shard): each PATH is the output of one; --output is a directory; "
        "the exit code is that of the verdict on all, as validate's",
    )
    parser.add_argument("--format", choices=tuple(FORMATS), default="html", help="what is made (default: html)")
    parser.add_argument("--output", metavar="FILE", help="where it is written; default: stdout")
    parser.add_argument(
        "--verdict-file",
        metavar="FILE",
        help="with --merge: write BLESSED or NOT_BLESSED there; the exit code is then 0 for both, as validate's",
    )
    arguments = parser.parse_args(argv)
    if arguments.merge:
        if not arguments.verdicts or arguments.history:
            parser.error("--merge: name the outputs of all parts")
        return _merge(arguments)
    if arguments.verdict_file is not None:
        parser.error("--verdict-file goes with --merge only")
    files, several, problems = _files(arguments.verdicts, arguments.history)
    if not arguments.verdicts and not arguments.history:
        parser.error("name a verdict.json, or a directory with --history")
    told: list[Told] = []
    for file in files:
        try:
            told.append((file, _read(file)))
        except _Unreadable as error:
            problems.append(f"{file}: {error}")
    for problem in problems:
        print(f"infra-validator report: {problem}", file=sys.stderr)
    if not told:
        return _WRONG_USAGE
    form = FORMATS[arguments.format]
    text = form.of_several(_named(told, arguments.output)) if several else form.of_one(told[0][1])
    if not _write(text, arguments.output):
        return _NOT_ALL
    return _NOT_ALL if problems else _DONE


def _merge(arguments: argparse.Namespace) -> int:
    from infra_validator.cli.validate_fleet import print_fleet  # only here
    from infra_validator.fleet.kept import KeptFleet
    from infra_validator.fleet.merging import merged

    decided = False
    try:
        if arguments.verdict_file is not None:
            remove_verdict_file(arguments.verdict_file)
        report = merged(arguments.verdicts, arguments.output)
        if arguments.output is not None:
            KeptFleet(arguments.output).write(report)
        if arguments.verdict_file is not None and report.verdict is not Verdict.INCONCLUSIVE:
            write_verdict_file(arguments.verdict_file, report.verdict)
            decided = True
    except (UsageError, InfrastructureError) as error:
        print(f"infra-validator report: {error.detail}", file=sys.stderr)
        return _WRONG_USAGE if isinstance(error, UsageError) else _NOT_ALL
    code = print_fleet(report, "text" if arguments.output is not None else arguments.format)
    return _DONE if decided else code


def _files(named: Sequence[str], histories: Sequence[str]) -> tuple[list[pathlib.Path], bool, list[str]]:
    """(the files that are meant, whether they are to be one report of several, what is wrong)."""
    files: list[pathlib.Path] = []
    problems: list[str] = []
    several = bool(histories) or len(named) > 1
    for name in named:
        path = pathlib.Path(name)
        if path.is_dir() and not (path / _VERDICT).is_file():
            several = True
            histories = [*histories, name]
        else:
            files.append(path / _VERDICT if path.is_dir() else path)
    for name in histories:
        below = sorted(found for found in pathlib.Path(name).rglob(_VERDICT) if found.is_file())
        if not below:
            problems.append(f"{name}: there is no {_VERDICT} in it")
        files += below
    return list(dict.fromkeys(files)), several, problems


def _read(file: pathlib.Path) -> Mapping[str, Any]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise _Unreadable(f"it cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise _Unreadable("it is nested too deeply") from error
    except ValueError as error:
        raise _Unreadable("it is no JSON") from error
    if not isinstance(told, dict) or not isinstance(told.get("verdict"), str):
        raise _Unreadable("it is no verdict of infra-validator")
    return told


def _named(told: Sequence[Told], output: str | None) -> list[tuple[str, Mapping[str, Any]]]:
    """The verdicts by their paths, seen from where the report will lie, so that its links lead there."""
    start = pathlib.Path(output).resolve().parent if output else pathlib.Path.cwd()
    named = []
    for file, verdict in told:
        name = str(file)
        with contextlib.suppress(ValueError, OSError):
            name = os.path.relpath(file.resolve(), start)
        named.append((name, verdict))
    return named


def _write(text: str, output: str | None) -> bool:
    """Whether the report is where it was to be."""
    if output is None:
        sys.stdout.write(text)
        return True
    try:
        pathlib.Path(output).write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        print(f"infra-validator report: --output {output}: {error.strerror}.", file=sys.stderr)
        return False
    return True
