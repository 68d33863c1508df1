"""``tfs_model_status_probe``: is the model available in a TensorFlow Serving instance? The exit code answers.

Flags, log lines and exit codes are those of the Go program of the same name (the seed); what goes beyond it is asked for by
flags of its own. ``docs/probe.md`` is the manual.
"""

from __future__ import annotations

import os
import sys
import time

from infra_validator.probe import exit_codes
from infra_validator.probe.asking import ask_once
from infra_validator.probe.go.flags import FlagError, HelpAsked
from infra_validator.probe.go.text import log
from infra_validator.probe.settings import Settings, read_settings, usage_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from infra_validator.probe.asking import ProbeResult

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.25  # seconds between two questions with --wait


def entry() -> NoReturn:
    """The console script and the zipapp: run, and leave without the interpreter's clearing up, which takes milliseconds."""
    code = main(sys.argv[1:], program=sys.argv[0])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # nobody reads; the exit code still counts
    os._exit(code)


def main(arguments: list[str], *, program: str = "tfs_model_status_probe") -> int:
    """Run the probe with these arguments and return the exit code."""
    try:
        settings = read_settings(arguments)
    except HelpAsked:
        _write(sys.stderr, usage_text(program))
        return 0  # as Go since 1.15
    except FlagError as error:
        _write(sys.stderr, f"{error}\n{usage_text(program)}")
        return exit_codes.WRONG_USAGE
    if settings.show_version:
        from infra_validator._version import __version__

        _write(sys.stdout, f"tfs_model_status_probe {__version__}\n")
        return 0
    if settings.ignored:
        log("Ignored, as everything from the first argument without a dash on: " + " ".join(settings.ignored))
    try:
        return run(settings)
    except KeyboardInterrupt:
        return 130  # as a shell says it


def run(settings: Settings) -> int:
    """Ask once, or with ``--wait`` until all is well or the last state is told; log, print, and return the exit code."""
    wait_until = time.monotonic() + settings.wait if settings.wait > 0 else None
    pause = _FIRST_PAUSE
    said: list[str] = []
    before: list[ProbeResult] = []
    while True:
        answers = ask_once(settings, wait_until)
        if before and wait_until is not None and time.monotonic() >= wait_until and any(map(_got_none, answers)):
            answers = before  # the end of the wait cut the last question short: the one before it has the last state
        before = answers
        lines = [line for answer in answers for line in answer.lines]
        if lines != said:
            for line in lines:
                log(line)
        said = lines
        failed = [answer for answer in answers if answer.code != exit_codes.AVAILABLE]
        if not failed or any(answer.hopeless for answer in failed):
            break
        if wait_until is None or time.monotonic() + pause >= wait_until:
            break
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    code = failed[0].code if failed else exit_codes.AVAILABLE
    if settings.output == "json":
        from infra_validator.probe.json_output import as_json

        _write(sys.stdout, as_json(settings, code, answers) + "\n")
    return code


def _got_none(answer: ProbeResult) -> bool:
    return answer.code in (exit_codes.NOT_CONNECTED, exit_codes.CALL_FAILED)


def _write(stream: object, text: str) -> None:
    try:
        stream.write(text)  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):
        pass  # nobody reads; the exit code still counts
