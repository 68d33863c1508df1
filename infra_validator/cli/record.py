"""``infra-validator record``: validates a model and, if it is blessed, writes its requests and answers down as a golden file."""

from __future__ import annotations

import argparse
import functools
import os
import signal
from collections.abc import Sequence

from infra_validator import api
from infra_validator.cli.progress.choice import display_for
from infra_validator.cli.progress.display import Display
from infra_validator.cli.validate import print_report
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.reason_codes import Blames, ReasonCode
from infra_validator.core.signals.interruption import Interruption
from infra_validator.core.signals.shutdown_signals import shutdown_signals
from infra_validator.plan import make_plan
from infra_validator.report.verdict import ValidationReport, Verdict, report_of_error
from infra_validator.specs import ValidationSpec
from infra_validator.validation.answers.compared.golden_file import Recording


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infra-validator record",
        description="Validate a model with sample requests and write the requests and its answers to a golden file, for "
        "validation_spec.answers.golden of the next model. The file holds requests and answers in full: keep it as you keep those.",
        epilog="SPEC is JSON or YAML text, or the path of a file; docs/specs.md lists the fields.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="the SavedModel directory")
    parser.add_argument("--requests", required=True, metavar="FILE", help="sample requests, as of validate")
    parser.add_argument("--output", required=True, metavar="FILE", help="the golden file; replaced if it is there")
    parser.add_argument(
        "--serving-spec", required=True, metavar="SPEC", help="one serving binary, platform, model name"
    )
    parser.add_argument("--validation-spec", metavar="SPEC", help="limits, tries, what answers must be")
    parser.add_argument("--request-spec", metavar="SPEC", help="which signatures are asked, how many requests")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    return parser


def main(argv: Sequence[str], *, ends_process: bool = False) -> int:
    """Run the command. Returns the exit code (see ``infra-validator --help``).

    Args:
      argv: the arguments after the subcommand.
      ends_process: whether the process ends with the command: signals are then ignored once the result is printed.
    """
    arguments = _parser().parse_args(argv)
    interruption = Interruption()
    recording = Recording()
    shown = display_for(os.environ, quiet=arguments.quiet)
    with shutdown_signals(interruption, until_exit=ends_process), shown as display:
        try:
            report = _validate(arguments, interruption, recording, display)
            if report.blessed:
                _write(arguments.output, recording.to_json(report.model_digest))
        except (UsageError, InfrastructureError, AttemptFailed) as error:
            report = report_of_error(arguments.model, error)
        display.end(report, "")
    if interruption.why is not None:
        return 128 + signal.Signals[interruption.why].value
    if not report.blessed:
        print_report(report, "text", display)
        if report.finding.reason.blames is Blames.USAGE:
            return 2
        return 1 if report.verdict is Verdict.NOT_BLESSED else 3
    print(f"{len(recording)} requests and answers were recorded in {arguments.output}.")
    return 0


as_program = functools.partial(main, ends_process=True)


def _validate(
    arguments: argparse.Namespace, interruption: Interruption, recording: Recording, display: Display
) -> ValidationReport:
    spec = ValidationSpec.of(arguments.validation_spec)
    plan = make_plan(arguments.model, arguments.serving_spec, spec, arguments.request_spec)
    if len(plan.launch_plans) != 1:
        raise UsageError(
            f"The serving spec asks for {len(plan.launch_plans)} serving binaries.",
            next_step="Name the one whose answers are to be recorded.",
        )
    if spec.answers.golden:
        raise UsageError(
            "validation_spec.answers.golden: answers that are held against a golden file are not recorded as another.",
            next_step="Leave it out.",
        )
    report = api.run_validation(
        arguments.model,
        arguments.serving_spec,
        spec,
        arguments.request_spec,
        requests=arguments.requests,
        on_progress=display.say,
        tell=display.tell,
        interruption=interruption,
        recording=recording,
    )
    interruption.close()  # a signal that comes from now on changes nothing
    return report


def _write(path: str, text: str) -> None:
    unfinished = f"{path}.{os.getpid()}.unfinished"
    try:
        with open(unfinished, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(unfinished, path)
    except OSError as error:
        raise InfrastructureError(
            ReasonCode.OUTPUT_NOT_WRITABLE, f"--output {path}: {error.strerror or error}."
        ) from error
