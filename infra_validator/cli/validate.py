"""``infra-validator validate``: a verdict without any pipeline. Result on stdout, progress on stderr."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from infra_validator import api
from infra_validator.cli.progress.choice import display_for
from infra_validator.cli.progress.display import Display
from infra_validator.cli.step_summary import add_to_step_summary
from infra_validator.cli.warmup_directory import FLAG, warmed_copy
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.progress import new_run_id
from infra_validator.core.reason_codes import Blames, ReasonCode
from infra_validator.core.signals.interruption import Interruption
from infra_validator.core.signals.shutdown_signals import shutdown_signals
from infra_validator.plan import make_plan
from infra_validator.report.evidence import EvidenceLevel
from infra_validator.report.formats.every_format import FORMATS
from infra_validator.report.output_directory import OutputDirectory, remove_verdict_file, write_verdict_file
from infra_validator.report.verdict import SCHEMA_VERSION, Finding, ValidationReport, Verdict, report_of_error
from infra_validator.specs import GenerateSpec, RequestSpec, ServingSpec, ValidationSpec
from infra_validator.specs.agreement import with_warm_up

if TYPE_CHECKING:
    from infra_validator.validation.warmup.warmed_copy import WarmedCopy

_EXIT_CODES = {Verdict.BLESSED: 0, Verdict.NOT_BLESSED: 1, Verdict.INCONCLUSIVE: 3}
_WRONG_USAGE = 2

#: Reasons that were found by measuring or reading, not in what the server wrote.
_SERVERS_WORDS_SAY_NOTHING = (
    ReasonCode.LIMIT_EXCEEDED,
    ReasonCode.LIMIT_NOT_MEASURED,
    ReasonCode.LOAD_NOT_REACHED,
    ReasonCode.SIGNATURE_BROKE,
    ReasonCode.TOO_NOISY,
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infra-validator validate",
        description="Start a throw-away model server on a model, wait until the model is really servable, send it sample "
        "requests, stop everything, and say whether the model is blessed.",
        epilog="SPEC is JSON or YAML text, or the path of a file; docs/specs.md lists the fields.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model", default="", metavar="DIR", help="the SavedModel directory; may be left out with --address"
    )
    fleet = parser.add_argument_group("many models (docs/fleet.md)")
    fleet.add_argument(
        "--models", metavar="FILE-OR-GLOB", help="in place of --model: a list, a directory of models, a pattern"
    )
    fleet.add_argument(
        "--at-once", type=int, default=0, metavar="N", help="models validated at once; default: one a processor"
    )
    fleet.add_argument(
        "--resume", action="store_true", help="keep the verdicts that --output has of the same models and specs"
    )
    fleet.add_argument("--fail-fast", action="store_true", help="begin no further model once one is not blessed")
    fleet.add_argument("--shard", default="", metavar="I/N", help="only the Ith of N parts of the list")
    parser.add_argument("--serving-spec", metavar="SPEC", help="serving binary, platform, model name")
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="ask the TensorFlow Serving that already runs there (gRPC); start and stop nothing. In place of --serving-spec",
    )
    parser.add_argument("--rest-address", metavar="HOST:PORT", help="its REST address, with --address")
    parser.add_argument("--model-name", metavar="NAME", help="the model's name on that server, with --address")
    parser.add_argument("--validation-spec", metavar="SPEC", help="limits and tries")
    parser.add_argument("--request-spec", metavar="SPEC", help="which signatures are asked, how many requests")
    parser.add_argument(
        "--requests",
        metavar="FILE",
        help="sample requests: JSON, .npz, or a TFRecord of PredictionLog or tf.Example",
    )
    parser.add_argument(
        "--generate",
        action="store_true",
        help="make sample requests up from the signature (request_spec.generate says how)",
    )
    parser.add_argument(
        "--require-requests",
        action="store_true",
        help="a validation without sample requests is an error (validation_spec.require_requests)",
    )
    parser.add_argument(
        FLAG,
        metavar="DIR",
        help="write the model with a warm-up file of the requests to this new directory, loaded again and timed before it is blessed",
    )
    parser.add_argument(
        "--show-requests",
        action="store_true",
        help="show what servers say as they say it, with the requests' content in it (validation_spec.show_requests)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="write verdict.json, report.html, junit.xml, summary.md and the servers' logs there",
    )
    parser.add_argument(
        "--baseline-model",
        metavar="DIR",
        help="the model to compare with: its signatures, and limits that are multiples of its figures; empty: there is none yet",
    )
    parser.add_argument(
        "--baseline-verdict",
        metavar="FILE",
        help="an earlier verdict.json with load runs to compare with (validation_spec.baseline_verdict)",
    )
    parser.add_argument(
        "--verdict-file",
        metavar="FILE",
        help="write BLESSED or NOT_BLESSED there, as an output parameter of Kubeflow or Argo; the exit code is then 0 for both",
    )
    parser.add_argument(
        "--format", choices=("text", "json", *FORMATS), default="text", help="how the result is printed on stdout"
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything and print the plan; start nothing")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="", help="of the progress (docs/observability.md)"
    )
    return parser


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; ends the process with the usage where they do not go together."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if (arguments.serving_spec is None) == (arguments.address is None):
        parser.error("one of --serving-spec and --address says which server is meant")
    if arguments.address is not None and arguments.model_name is None:
        parser.error("--address needs --model-name: a server may have several models")
    _check_fleet(parser, arguments)
    if arguments.address is None and (arguments.rest_address, arguments.model_name) != (None, None):
        parser.error("--rest-address and --model-name go with --address only")
    return arguments


def _check_fleet(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    given = (arguments.at_once, arguments.resume, arguments.fail_fast, arguments.shard)
    if arguments.models is None and any(given):
        parser.error("--at-once, --resume, --fail-fast and --shard go with --models only")
    alone = ("model", "address", "make_warmup", "baseline_model", "dry_run")
    with_it = [name for name in alone if getattr(arguments, name) not in (None, "", False)]
    if arguments.models is not None and with_it:
        parser.error(f"--models does not go with --{with_it[0].replace('_', '-')}")


def main(argv: Sequence[str], *, ends_process: bool = False) -> int:
    """Run the command. Returns the exit code (see ``infra-validator --help``).

    Args:
      argv: the arguments after the subcommand.
      ends_process: whether the process ends with the command: signals are then ignored once the result is printed.
    """
    try:
        arguments = _parse(argv)
    except SystemExit as ended:
        if ended.code:
            _keep_wrong_usage(argv)
        raise
    interruption = Interruption()
    with shutdown_signals(interruption, until_exit=ends_process), contextlib.ExitStack() as closing:
        if arguments.models is not None:
            code = _run_fleet(arguments, interruption)
            return code if interruption.why is None else 128 + signal.Signals[interruption.why].value
        arguments.run_id = new_run_id()
        quiet, form = arguments.quiet or arguments.dry_run, arguments.log_format
        display = closing.enter_context(display_for(os.environ, quiet=quiet, log_format=form, run_id=arguments.run_id))
        code = _run(arguments, interruption, closing, display)
    if interruption.why is not None:
        return 128 + signal.Signals[interruption.why].value
    return code


as_program = functools.partial(main, ends_process=True)


def _keep_wrong_usage(argv: Sequence[str]) -> None:
    """Put the verdict on a command line that makes no sense where an earlier one may lie."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--output")
    parser.add_argument("--model", default="")
    with contextlib.suppress(argparse.ArgumentError, InfrastructureError, UsageError):
        found, _ = parser.parse_known_args(argv)
        if found.output is not None:
            OutputDirectory(found.output, found.model).write(
                report_of_error(found.model, UsageError("Standard error says what is wrong with the command line."))
            )


def _run(
    arguments: argparse.Namespace, interruption: Interruption, closing: contextlib.ExitStack, display: Display
) -> int:
    output: OutputDirectory | None = None
    warmed: WarmedCopy | None = None
    try:
        if arguments.dry_run:
            return _print_plan(arguments)
        if arguments.output is not None:
            output = OutputDirectory(arguments.output, arguments.model)
        if arguments.verdict_file is not None:
            remove_verdict_file(arguments.verdict_file)
        if arguments.make_warmup is not None:
            others = {"--output": arguments.output, "--verdict-file": arguments.verdict_file}
            warmed = closing.enter_context(warmed_copy(arguments.make_warmup, arguments.model, others))
        report = _validate(arguments, interruption, warmed, display)
    except (UsageError, InfrastructureError, AttemptFailed) as error:
        interruption.close()  # as in _validate: what is told from here on is not taken back
        report = report_of_error(arguments.model, _interrupted(interruption) or error)
    try:
        if output is not None:
            output.write(report)
        if arguments.verdict_file is not None and report.verdict is not Verdict.INCONCLUSIVE:
            write_verdict_file(arguments.verdict_file, report.verdict)
    except InfrastructureError as error:
        report = report_of_error(arguments.model, error)
    if warmed is not None and report.blessed:
        warmed.keep()
    display.end(report, output.report_path if output is not None else "")
    print_report(report, arguments.format, display)
    add_to_step_summary(report)
    if report.finding.reason.blames is Blames.USAGE:
        return _WRONG_USAGE
    if arguments.verdict_file is not None and report.verdict is not Verdict.INCONCLUSIVE:
        return 0
    return _EXIT_CODES[report.verdict]


def _run_fleet(arguments: argparse.Namespace, interruption: Interruption) -> int:
    from infra_validator.cli import validate_fleet  # one model does not wait for its import

    try:
        if arguments.verdict_file is not None:
            remove_verdict_file(arguments.verdict_file)
        specs = (ServingSpec.of(arguments.serving_spec), _validation_spec(arguments), _request_spec(arguments))
        code, report = validate_fleet.run(arguments, specs, interruption)
        if arguments.verdict_file is None or report is None or report.verdict is Verdict.INCONCLUSIVE:
            return code
        write_verdict_file(arguments.verdict_file, report.verdict)
    except (UsageError, InfrastructureError) as error:
        print(f"{error.reason.name}: {error.detail}")
        return _WRONG_USAGE if error.reason.blames is Blames.USAGE else _EXIT_CODES[Verdict.INCONCLUSIVE]
    return 0


def _interrupted(interruption: Interruption) -> InfrastructureError | None:
    try:
        interruption.check()
    except InfrastructureError as error:
        return error
    return None


def _validate(
    arguments: argparse.Namespace, interruption: Interruption, warmed: WarmedCopy | None, display: Display
) -> ValidationReport:
    report = api.run_validation(
        arguments.model,
        _serving_spec(arguments),
        _validation_spec(arguments),
        _request_spec(arguments),
        requests=arguments.requests,
        on_progress=display.say,
        tell=display.tell,
        interruption=interruption,
        warmed=warmed,
        baseline_model=_baseline_model(arguments),
        run_id=arguments.run_id,
    )
    interruption.close()  # a signal that comes from now on changes nothing: exit code and verdict agree
    if report.verdict is not Verdict.INCONCLUSIVE:
        interruption.check()
    return report


def _serving_spec(arguments: argparse.Namespace) -> ServingSpec:
    """The serving spec, or the one that --address stands for."""
    if arguments.address is None:
        spec = ServingSpec.of(arguments.serving_spec)
        if not arguments.model and spec.address is None:
            raise UsageError("--model is not given.", next_step="Name the SavedModel directory.")
        return spec
    address = {"grpc": arguments.address, "rest": arguments.rest_address or ""}
    return ServingSpec.of({"tensorflow_serving": {}, "address": address, "model_name": arguments.model_name})


def _validation_spec(arguments: argparse.Namespace) -> ValidationSpec:
    spec = ValidationSpec.of(arguments.validation_spec)
    return dataclasses.replace(
        spec,
        require_requests=spec.require_requests or arguments.require_requests,
        show_requests=spec.show_requests or arguments.show_requests,
        baseline_verdict=arguments.baseline_verdict or spec.baseline_verdict,
    )


def _baseline_model(arguments: argparse.Namespace) -> str | None:
    given: str | None = arguments.baseline_model
    if given and not os.path.exists(given) and "://" not in given:
        raise UsageError(
            f"--baseline-model {given}: there is no such directory.",
            next_step="Correct the path; where nothing is in production yet, say --baseline-model ''.",
        )
    return given


def _request_spec(arguments: argparse.Namespace) -> RequestSpec:
    spec = with_warm_up(RequestSpec.of(arguments.request_spec), directory=arguments.make_warmup is not None)
    if arguments.generate and arguments.requests is not None:
        raise UsageError(
            "--generate and --requests are both given: requests are made up only where there are none.",
            next_step="Take one of them out.",
        )
    return dataclasses.replace(spec, generate=spec.generate or GenerateSpec()) if arguments.generate else spec


def _print_plan(arguments: argparse.Namespace) -> int:
    limits, asked, baseline = _validation_spec(arguments), _request_spec(arguments), _baseline_model(arguments)
    api.check_source(arguments.requests, limits, asked, baseline=baseline is not None)
    made = make_plan(arguments.model, _serving_spec(arguments), limits, asked, baseline_model=baseline)
    made.check()
    plan = made.to_dict()
    if arguments.format == "json":
        print(json.dumps({"schema_version": SCHEMA_VERSION, "dry_run": True, **plan}, indent=2))
        return 0
    print(f"would validate {plan['model']} as {plan['model_name']!r} on {plan['platform']}:")
    for binary in plan["serving_binaries"]:
        print(f"  {binary['label']}: {' '.join([*binary['command'], *binary['args']]) or binary['image']}")
    limits = plan["validation_spec"]
    print(
        f"  at most {limits['num_tries']} tries, {limits['max_loading_time_seconds']:g} s to load,"
        f" {limits['max_query_time_seconds']:g} s to answer, {limits['total_time_seconds']:g} s in all"
    )
    made_up = "made up from the signature" if "generate" in plan["request_spec"] else "none (the model is only loaded)"
    print(f"  sample requests: {arguments.requests or made_up}")
    return 0


def print_report(report: ValidationReport, form: str, display: Display) -> None:
    """Print a report on standard output.

    Args:
      form: ``text`` or ``json``.
      display: says how text of unknown origin is printed.
    """
    if form == "json":
        print(display.json(report.to_json()), end="")
        return
    words = display.words
    if form in FORMATS:
        print(FORMATS[form].of_one(report.to_dict()), end="")
        return
    if len(report.serving_binaries) > 1:
        for binary in report.serving_binaries:
            note = " (advisory)" if binary.advisory else ""
            print(f"  {words(binary.label)}{note}: {binary.verdict.value} {binary.finding.reason.name}")
    from infra_validator.validation.limits.lines import lines_of_measurements

    for line in lines_of_measurements(report):
        print(f"  {words(line)}")
    for warning in report.warnings:
        print(f"warning: {words(warning)}")
    if report.blessed and report.evidence.level is EvidenceLevel.LOADED:
        print(f"{report.sentence} Name sample requests with --requests FILE, or have some made up with --generate.")
        print("BLESSED (loaded only: no request was sent)")
        return
    _print_finding(report.verdict, report.finding, words)
    if not report.blessed and report.finding.reason not in _SERVERS_WORDS_SAY_NOTHING:
        log = next((b.server_log for b in report.serving_binaries if b.finding.reason is report.finding.reason), "")
        if log:
            print("  the server's last lines:")
            for line in words(log).splitlines()[-10:]:
                print(f"    | {line}")


def _print_finding(verdict: Verdict, finding: Finding, words: Callable[[str], str]) -> None:
    if verdict is Verdict.BLESSED:
        print(verdict.value)
        return
    print(f"{verdict.value} {finding.reason.name}: {words(finding.sentence)}")
    print(f"  next step: {words(finding.next_step or finding.reason.next_step)}")
