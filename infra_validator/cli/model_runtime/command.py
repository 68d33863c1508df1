"""``infra-validator model-runtime``: run a ModelRuntime (the default form), ``check`` one, or test one's ``conformance``."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from infra_validator.core.errors import InfrastructureError, UsageError
from infra_validator.core.signals.shutdown_signals import StopSignals
from infra_validator.embedded_server.ports import write_port_file
from infra_validator.model_runtime.backends.base_backend import BackendSettings
from infra_validator.model_runtime.backends.registry import BACKENDS, make_backend
from infra_validator.model_runtime.server import ModelRuntimeServer
from infra_validator.model_runtime.servicer import Parameters
from infra_validator.model_runtime.sizes.container_memory import RESERVED_BYTES, memory_limit
from infra_validator.model_server_clients.model_runtime.contract import DEFAULT_PORT
from infra_validator.specs.local_process import parse_size

#: other forms of the command -> module with ``main(argv)``
_FORMS = {
    "check": "infra_validator.cli.model_runtime.check",
    "conformance": "infra_validator.cli.model_runtime.conformance",
}

_EPILOG = """\
Defaults are read from the environment variables in which model-mesh's controller tells them to an adapter: ADAPTER_PORT,
CONTAINER_MEM_REQ_BYTES and MEM_BUFFER_BYTES, LOADING_CONCURRENCY, LOADTIME_TIMEOUT (ms), DEFAULT_MODELSIZE (bytes),
LIMIT_PER_MODEL_CONCURRENCY, RUNTIME_VERSION, ROOT_MODEL_DIR.

infra-validator model-runtime check --help        checks a runtime with one model
infra-validator model-runtime conformance --help  tests a runtime against the whole contract

exit codes: 0 ended by SIGTERM or SIGINT, 2 wrong usage or an address that is taken, 3 the backend is not there"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns the exit code."""
    if argv and argv[0] in _FORMS:
        return int(importlib.import_module(_FORMS[argv[0]]).main(argv[1:]))
    if argv and argv[0] == "serve":
        argv = argv[1:]
    try:
        _serve(_parser(os.environ).parse_args(argv))
    except UsageError as error:
        print(f"infra-validator model-runtime: {error}", file=sys.stderr)
        return 2
    except InfrastructureError as error:
        print(f"infra-validator model-runtime: {error}", file=sys.stderr)
        return 3


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    def told(name: str, default: str) -> str:
        return environment.get(name) or default

    parser = argparse.ArgumentParser(
        prog="infra-validator model-runtime",
        description="Serve SavedModels to model-mesh: its ModelRuntime API, with inference on the same port or on that of a "
        "TensorFlow Serving.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    port = told("ADAPTER_PORT", str(DEFAULT_PORT))
    add(
        "--port",
        type=_port,
        metavar="N",
        help=f"gRPC port; 0 takes a free one (default: {port}, if no socket is named)",
    )
    add("--host", default="localhost", help="the address to listen on; localhost is what model-mesh calls (default)")
    add("--unix-socket", metavar="PATH", help="listen there instead of on a port; with --port on both")
    add("--port-file", metavar="FILE", help='where to write {"grpc": N, "pid": P} once the port is open')
    root = told("ROOT_MODEL_DIR", "/models")
    add("--model-root", metavar="DIR", default=root, help=f"the directory that holds all models (default: {root})")
    add(
        "--backend",
        default="embedded",
        metavar="NAME",
        help=f"{', '.join(BACKENDS)} or a plug-in's (default: embedded)",
    )
    add("--server-address", default="localhost:8500", metavar="ADDRESS", help="of the TensorFlow Serving to drive")
    add("--adapted-root", metavar="DIR", help="where that server's base paths are made (default: below the model root)")
    add(
        "--capacity",
        type=_size,
        metavar="BYTES",
        help="memory for models, e.g. 4g (default: the container's limit, less 256m)",
    )
    add(
        "--default-model-size",
        type=_size,
        metavar="BYTES",
        default=told("DEFAULT_MODELSIZE", "16m"),
        help="default: 16m",
    )
    concurrency = told("LOADING_CONCURRENCY", "2")
    add(
        "--max-loading-concurrency",
        type=int,
        default=concurrency,
        metavar="N",
        help=f"loads at once (default: {concurrency})",
    )
    limit = int(told("LOADTIME_TIMEOUT", "90000")) / 1000 if told("LOADTIME_TIMEOUT", "0").isdigit() else 90.0
    add("--load-timeout", type=float, default=limit, metavar="SECONDS", help=f"limit of one load (default: {limit:g})")
    most = told("LIMIT_PER_MODEL_CONCURRENCY", "0")
    add(
        "--max-concurrency",
        type=int,
        default=most,
        metavar="N",
        help="requests at once per model; 0: no limit (default)",
    )
    add("--runtime-version", default=told("RUNTIME_VERSION", ""), metavar="TEXT", help="default: the backend's own")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port number from 0 to 65535")
    return int(text)


def _size(text: str) -> int:
    size = parse_size(text)
    if not size:
        raise argparse.ArgumentTypeError(f"{text!r} is no size above 0 such as 512m, 4g or 1048576")
    return size


def _capacity(environment: Mapping[str, str]) -> int:
    """What the controller tells of the container's memory, else what the container itself says, less the reserve."""
    told = environment.get("CONTAINER_MEM_REQ_BYTES", "")
    reserve = environment.get("MEM_BUFFER_BYTES", "")
    limit = int(told) if told.isdigit() else memory_limit()
    return limit - (int(reserve) if reserve.isdigit() else RESERVED_BYTES)


def _addresses(arguments: argparse.Namespace, environment: Mapping[str, str]) -> list[str]:
    addresses = []
    if arguments.port is not None or not arguments.unix_socket:
        port = _port(environment.get("ADAPTER_PORT") or str(DEFAULT_PORT)) if arguments.port is None else arguments.port
        host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
        addresses.append(f"{host}:{port}")
    if arguments.unix_socket:
        addresses.append(f"unix:{arguments.unix_socket}")
    return addresses


def _serve(arguments: argparse.Namespace) -> NoReturn:
    if not os.path.isdir(arguments.model_root):
        raise UsageError(f"--model-root: {arguments.model_root!r} is no directory.")
    backend = make_backend(
        arguments.backend,
        BackendSettings(
            os.path.realpath(arguments.model_root),
            arguments.server_address,
            arguments.adapted_root or "",
            arguments.load_timeout,
        ),
    )
    parameters = Parameters(
        arguments.capacity or _capacity(os.environ),
        arguments.max_loading_concurrency,
        arguments.load_timeout,
        arguments.default_model_size,
        arguments.max_concurrency,
        arguments.runtime_version or backend.version,
    )
    addresses = _addresses(arguments, os.environ)
    with StopSignals() as signals:
        server = ModelRuntimeServer(backend, parameters, arguments.model_root, addresses)
        if arguments.port_file:
            write_port_file(arguments.port_file, server.ports[0], 0)
        print(f"ModelRuntime ({backend.name}) on {', '.join(_shown(addresses, server.ports))}", flush=True)
        signals.wait()
        server.stop()
    sys.stdout.flush()
    os._exit(0)  # threads of TensorFlow, and a load that cannot be interrupted, must not hold up the exit


def _shown(addresses: Sequence[str], ports: Sequence[int]) -> list[str]:
    return [
        address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
        for address, port in zip(addresses, ports, strict=True)
    ]
