"""``infra-validator model-runtime check``: does to a running runtime what model-mesh would do with one model."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_clients.model_runtime.client import ModelRuntimeClient
from infra_validator.model_server_clients.model_runtime.contract import DEFAULT_KEY, START_SECONDS
from infra_validator.model_server_clients.model_runtime.measurements import Measurements

_OK, _REFUSED, _USAGE, _NOT_REACHABLE, _INTERRUPTED = 0, 1, 2, 3, 130

_UNLOAD_SECONDS = 600.0  # model-mesh sets no limit; somebody who checks has one
_AFTER_LOAD_SECONDS = 60.0  # for modelSize, whose own limit is 30 s

_EPILOG = """\
Asking runtimeStatus purges what the runtime has loaded: that is its contract. Do not check a runtime that serves.

exit codes:
  0  loaded, sized and unloaded
  1  the runtime refused the model or broke the contract
  2  wrong usage
  3  not reachable within --start-timeout"""


def parser() -> argparse.ArgumentParser:
    """The flags."""
    made = argparse.ArgumentParser(
        prog="infra-validator model-runtime check",
        description="Poll a running ModelRuntime until it is READY, load a model, size it and unload it, as model-mesh does.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("--address", required=True, type=address, metavar="ADDR", help="host:port or unix:PATH of the runtime")
    add("--model-id", required=True, metavar="ID", help="the model's id")
    add("--model-type", required=True, metavar="TYPE", help="the model's type, e.g. tensorflow")
    add("--model-path", required=True, metavar="PATH", help="where the runtime sees the model")
    add("--model-key", type=model_key, default=DEFAULT_KEY, metavar="JSON", help="the model's key (default: {})")
    add("--load-timeout", type=_seconds, metavar="S", help="limit of loadModel (default: what the runtime tells)")
    add(
        "--start-timeout",
        type=_seconds,
        default=START_SECONDS,
        metavar="S",
        help=f"how long the runtime may take to be READY (default: {START_SECONDS:g}, as for model-mesh)",
    )
    add("--format", choices=("text", "json"), default="text", help="how the result is printed")
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns the exit code."""
    arguments = parser().parse_args(argv)
    result: dict[str, Any] = {"schema": 1, "address": arguments.address, "model_id": arguments.model_id}
    try:
        _check_usage(arguments)
        code, found, measured = _check(arguments)
    except UsageError as error:
        code, found, measured = _USAGE, _finding(error.reason, error.detail, error.next_step), Measurements()
    except KeyboardInterrupt:
        return _INTERRUPTED
    result |= {"exit_code": code, **found, "measurements": _plain(measured)}
    if arguments.format == "json":
        print(json.dumps(result, indent=2))
    else:
        _print_text(result, sys.stdout if code == _OK else sys.stderr)
    return code


def address(text: str) -> str:
    """A gRPC target: ``host:port``, ``:port`` (of this machine), ``unix:PATH``, or with a scheme of gRPC's."""
    if text.startswith("unix:") and len(text) > len("unix:"):
        return text
    rest = text.rpartition("/")[2]
    host, colon, port = rest.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is neither host:port nor unix:PATH")
    return text if host or "/" in text else f"localhost:{port}"


def model_key(text: str) -> str:
    """A model's key: the text of a JSON object."""
    try:
        key = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"is not JSON: {error}") from None
    if not isinstance(key, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def _check_usage(arguments: argparse.Namespace) -> None:
    if not arguments.model_id:
        raise UsageError("--model-id must not be empty.")
    if not arguments.model_path:
        raise UsageError("--model-path must not be empty.")
    for name in ("model_id", "model_type", "model_path", "model_key"):
        try:
            getattr(arguments, name).encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"--{name.replace('_', '-')} is not UTF-8.") from error


def _check(arguments: argparse.Namespace) -> tuple[int, dict[str, Any], Measurements]:
    client = ModelRuntimeClient(
        arguments.address,
        arguments.model_id,
        model_path=arguments.model_path,
        model_type=arguments.model_type,
        model_key=arguments.model_key,
        load_timeout=arguments.load_timeout,
        start_timeout=arguments.start_timeout,
    )
    with client:
        try:
            last = client.WaitUntilRuntimeReady(Deadline.after(arguments.start_timeout))
            if client.measured.status is None and not last.answered and not last.foreign:
                detail = f"Nobody answered at {arguments.address} within {arguments.start_timeout:g} s: {last.detail}."
                next_step = "Check the address, and that the runtime runs."
                return _NOT_REACHABLE, _finding(None, detail, next_step), client.measured
            if client.measured.status is None:
                raise AttemptFailed(ReasonCode.RUNTIME_BROKE_CONTRACT, f"It was not READY in time: {last.detail}.")
            limit = arguments.load_timeout or client.measured.status.modelLoadingTimeoutMs / 1000
            client.WaitUntilModelLoaded(Deadline.after(limit + _AFTER_LOAD_SECONDS))
            client.UnloadModel(Deadline.after(_UNLOAD_SECONDS))
        except AttemptFailed as error:
            return _REFUSED, _finding(error.reason, error.detail, error.next_step), client.measured
    return _OK, _finding(None, "The model was loaded, sized and unloaded.", ""), client.measured


def _finding(reason: ReasonCode | None, detail: str, next_step: str) -> dict[str, Any]:
    return {"reason": reason.name if reason else None, "detail": detail, "next_step": next_step}


def _plain(measured: Measurements) -> dict[str, Any]:
    status = measured.status
    return {
        "capacity_bytes": status.capacityInBytes if status else None,
        "runtime_version": status.runtimeVersion if status else None,
        "predicted_bytes": measured.predicted_bytes,
        "size_bytes": measured.size_bytes,
        "max_concurrency": measured.max_concurrency,
        "start_seconds": measured.start_seconds,
        "load_seconds": measured.load_seconds,
        "unload_seconds": measured.unload_seconds,
        "notes": measured.notes,
    }


def _print_text(result: dict[str, Any], file: TextIO) -> None:
    print(f"{result['model_id']} at {result['address']}: {result['detail']}", file=file)
    if result["reason"]:
        print(f"reason: {result['reason']}", file=file)
    if result["next_step"]:
        print(f"next step: {result['next_step']}", file=file)
    measurements = result["measurements"]
    for name, value in measurements.items():
        if name == "notes" or value in (None, ""):
            continue
        print(f"  {name:<16} {value:.3f}" if isinstance(value, float) else f"  {name:<16} {value}", file=file)
    for note in measurements["notes"]:
        print(f"  note: {note}", file=file)
