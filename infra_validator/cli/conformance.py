"""``infra-validator conformance open-inference``: the Open Inference Protocol, point by point, against anybody's server."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

import grpc

from infra_validator.conformance.open_inference.points import POINTS
from infra_validator.conformance.open_inference.subject import Subject
from infra_validator.conformance.points import Outcome, Result, run_points, told
from infra_validator.conformance.report import as_json, as_junit, line, summary
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import DeadlineExceeded, SpecError
from infra_validator.specs.binaries.open_inference import tensor_of

_CONFORMS, _DEPARTS, _WRONG_USAGE, _NOT_REACHABLE, _INTERRUPTED = 0, 1, 2, 3, 130
_PROTOCOLS = {"grpc": "inference.GRPCInferenceService", "rest": "Open Inference REST v2"}
_WHO = "callers"

_EPILOG = """\
The requests are zeros (and --text) in the shapes that the model's metadata tell, with 1 in the place of any size; --input says
others. Some points send requests that are wrong on purpose.

exit codes:
  0  every point that must hold holds, or cannot be judged
  1  a point that must hold does not
  2  wrong usage
  3  not reachable"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infra-validator conformance open-inference",
        description="Test a running server against the Open Inference Protocol (KServe v2) over gRPC or REST, with one good model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--target", required=True, metavar="HOST:PORT", help="the server's address; http://HOST:PORT means REST")
    add("--protocol", choices=("grpc", "rest"), default="grpc", help="what is spoken there (default: grpc)")
    add("--model-name", required=True, metavar="NAME", help="a good model that it has")
    add("--model-version", default="", metavar="VERSION", help="its version (default: the server chooses)")
    add(
        "--input",
        action="append",
        default=[],
        type=_input,
        metavar="NAME=FP32[1,4]",
        help="an input of a good request; may be repeated (default: as the metadata tell)",
    )
    add("--text", default="a", metavar="TEXT", help="what every element of BYTES is (default: a)")
    add("--start-timeout", type=float, default=30.0, metavar="S", help="until the server is reached (default: 30)")
    add("--only", action="append", choices=[point.name for point in POINTS], metavar="POINT", help="test this only")
    add("--list", action=_List, help="list the points and end")
    add("--format", choices=("text", "json", "junit"), default="text", help="how the results are printed")
    return parser


class _List(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        for point in POINTS:
            print(f"{point.name:<20} {'must' if point.must else 'should'}  {point.title}")
        parser.exit(0)


def _input(text: str) -> tuple[str, tuple[str, tuple[int, ...]]]:
    name, _, tensor = text.partition("=")
    try:
        _, shape = tensor_of(tensor, "--input")
    except SpecError as error:
        raise argparse.ArgumentTypeError(error.detail) from error
    if not name or any(size < 0 for size in shape):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DATATYPE[SHAPE] with sizes of 0 and more")
    return name, (tensor.partition("[")[0].strip(), shape)


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns the exit code."""
    if not argv or argv[0] != "open-inference":
        asks = bool(argv) and argv[0] in ("-h", "--help")
        print(
            "usage: infra-validator conformance open-inference [ARGUMENTS]\n\n"
            "A ModelRuntime has its own: infra-validator model-runtime conformance.",
            file=sys.stdout if asks else sys.stderr,
        )
        return 0 if asks else 2
    arguments = _parser().parse_args(argv[1:])
    rest = arguments.protocol == "rest" or arguments.target.startswith("http://")
    target = arguments.target.removeprefix("http://").rstrip("/")
    if not re.fullmatch(r"[^/\s]+:[0-9]{1,5}", target):
        print(f"--target is not HOST:PORT or http://HOST:PORT: {arguments.target}", file=sys.stderr)
        return _WRONG_USAGE
    protocol = "rest" if rest else "grpc"
    name, version = arguments.model_name, arguments.model_version
    subject = Subject(target, name, version, dict(arguments.input), arguments.text, protocol)
    wanted = [point for point in POINTS if not arguments.only or point.name in arguments.only]
    try:
        problem = _why_not_reached(subject, arguments.start_timeout)
        if problem:
            print(problem, file=sys.stderr)
            return _NOT_REACHABLE
        results = run_points(subject, wanted, _print_line if arguments.format == "text" else _ignore)
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        subject.close()
    if arguments.format == "text":
        print(summary(results))
    elif arguments.format == "json":
        print(as_json(arguments.target, results))
    else:
        print(as_junit(arguments.target, results, _PROTOCOLS[protocol], _WHO))
    return _DEPARTS if any(result.outcome is Outcome.FAILED for result in results) else _CONFORMS


def _why_not_reached(subject: Subject, seconds: float) -> str:
    """Why nobody answers at the target in time; empty once somebody does, whatever it is."""
    deadline = Deadline.after(seconds)
    last = ""

    def answered() -> bool | None:
        nonlocal last
        try:
            subject.is_ready(subject.name, subject.version, max(0.1, min(5.0, deadline.remaining())))
        except grpc.RpcError as error:
            last = told(error)
            unreachable = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            return None if error.code() in unreachable else True
        return True

    try:
        wait_until(answered, deadline, longest_pause=0.5)
    except DeadlineExceeded:
        return f"{subject.target} was not reached within {seconds:g} s: {last}"
    return ""


def _print_line(result: Result[Subject]) -> None:
    print(line(result, _WHO), flush=True)


def _ignore(result: Result[Subject]) -> None:
    """The whole is printed at the end."""
