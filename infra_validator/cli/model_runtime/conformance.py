"""``infra-validator model-runtime conformance``: the ModelRuntime contract, point by point, against anybody's runtime."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import grpc

from infra_validator.cli.model_runtime.check import address, model_key
from infra_validator.conformance.points import Departure, Outcome, Result, told
from infra_validator.conformance.report import as_json, as_junit, line, summary
from infra_validator.core.errors import DeadlineExceeded
from infra_validator.model_runtime.conformance.points import POINTS
from infra_validator.model_runtime.conformance.run import Model, Subject, run
from infra_validator.model_server_clients.model_runtime.contract import DEFAULT_KEY, START_SECONDS

_CONFORMS, _DEPARTS, _NOT_REACHABLE, _INTERRUPTED = 0, 1, 3, 130

_EPILOG = """\
The run loads and unloads models under ids of its own and asks runtimeStatus several times, which unloads everything: do not
run it against a runtime that serves. A model that takes a second to load lets more points be judged than a tiny one.

exit codes:
  0  every point that must hold holds, or cannot be judged
  1  a point that must hold does not
  2  wrong usage
  3  not reachable"""


def parser() -> argparse.ArgumentParser:
    """The flags."""
    made = argparse.ArgumentParser(
        prog="infra-validator model-runtime conformance",
        description="Test a running ModelRuntime against model-mesh's contract. Each failure says what model-mesh would do.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("--target", required=True, type=address, metavar="ADDR", help="host:port or unix:PATH of the runtime")
    add(
        "--model",
        required=True,
        action="append",
        type=_model,
        metavar="NAME=PATH",
        help="a good model, where the runtime sees it; may be repeated, the first one is used most",
    )
    add("--model-type", default="tensorflow", metavar="TYPE", help="the models' type (default: tensorflow)")
    add("--model-key", type=model_key, default=DEFAULT_KEY, metavar="JSON", help="the models' key (default: {})")
    add("--inference-target", default="", metavar="ADDR", help="where inference goes (default: the target)")
    add("--method", default="", metavar="METHOD", help="the inference method (default: the first of methodInfos)")
    add("--load-timeout", type=float, metavar="S", help="limit of one load (default: what the runtime tells)")
    add(
        "--start-timeout",
        type=float,
        default=START_SECONDS,
        metavar="S",
        help=f"until READY (default: {START_SECONDS:g})",
    )
    add(
        "--only",
        action="append",
        choices=[point.name for point in POINTS],
        metavar="POINT",
        help="test this point only",
    )
    add("--list", action=_List, help="list the points and end")
    add("--format", choices=("text", "json", "junit"), default="text", help="how the results are printed")
    return made


class _List(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        for point in POINTS:
            print(f"{point.name:<22} {'must' if point.must else 'should'}  {point.title}")
        parser.exit(0)


def _model(text: str) -> Model:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH")
    return Model(name, path)


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns the exit code."""
    arguments = parser().parse_args(argv)
    models = [Model(model.name, model.path, arguments.model_type, arguments.model_key) for model in arguments.model]
    subject = Subject(arguments.target, models, arguments.inference_target, arguments.method, arguments.load_timeout)
    wanted = [point for point in POINTS if not arguments.only or point.name in arguments.only]
    try:
        reachable = _reach(subject, arguments.start_timeout)
        if not reachable:
            return _NOT_REACHABLE
        results = run(subject, wanted, _print_line if arguments.format == "text" else _ignore)
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        subject.tidy_up()
        subject.close()
    if arguments.format == "text":
        print(summary(results))
    else:
        print(as_json(arguments.target, results) if arguments.format == "json" else as_junit(arguments.target, results))
    return _DEPARTS if any(result.outcome is Outcome.FAILED for result in results) else _CONFORMS


def _reach(subject: Subject, seconds: float) -> bool:
    """Wait for the runtime; what it answers is judged later, that it answers at all is asked here."""
    try:
        subject.ask_status(seconds)
    except Departure:
        pass
    except DeadlineExceeded:
        print(f"{subject.target} did not become READY within {seconds:g} s.", file=sys.stderr)
        return False
    except grpc.RpcError as error:
        print(f"{subject.target} did not become READY within {seconds:g} s: {told(error)}", file=sys.stderr)
        return error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    return True


def _print_line(result: Result[Subject]) -> None:
    print(line(result), flush=True)


def _ignore(result: Result[Subject]) -> None:
    """The whole is printed at the end."""
