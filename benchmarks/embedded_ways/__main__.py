"""One small Predict at 1, 8 and 32 at once: the floor, the embedded server, the ways tried, and what people use.

    python -m benchmarks.embedded_ways [--seconds 2] [--only WAY,...] [--peers [DIRECTORY]]

The floor is an echo server of the same gRPC library and a TF_SessionRun. Servers are processes of their own, so is the client; all
share the machine's processors and take turns. The way nghttp2 needs that library, which the system has or has not. With --peers,
FastAPI, MLServer and KServe's ModelServer answer the same over REST, each installed with TensorFlow into a virtual environment of its own
in DIRECTORY (a temporary one, unless named: some gigabytes).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import grpc

from benchmarks.embedded_server import (
    _RUN,
    CONCURRENCIES,
    PREDICT,
    STARTS_WITHIN,
    UNLIMITED,
    Load,
    family,
    grpc_asker,
    measure,
    resident,
    rest_asker,
    server,
    small_request,
    wait_for_ports,
)
from benchmarks.embedded_ways.peers import PEERS, installed
from component_tests.fakes.saved_models import made_once

WAYS = ("lean pool", "growing pool", "two threads", "two processes", "nghttp2")
TURNS = 3
PROGRAM = pathlib.Path(__file__).parent / "peer_servers.py"

Asker = Callable[[], Callable[[], object]]


@contextlib.contextmanager
def program(command: list[str], ports_in: pathlib.Path) -> Iterator[dict[str, int]]:
    """A running server that writes its ports to ``ports_in``."""
    with open(f"{ports_in}.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        ports = wait_for_ports(ports_in, process)
        wait_until_open(ports.get("grpc") or ports["rest"], process)
        yield ports
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    sys.exit(f"{process.args!r} did not start")


def connection_each(port: int, request: bytes) -> Asker:
    """Asks over a connection of its own for each client."""

    def ask() -> Callable[[], object]:
        options = [*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)]
        call = grpc.insecure_channel(f"127.0.0.1:{port}", options=options).unary_unary(PREDICT, bytes, bytes)
        return lambda: call(request, timeout=60)

    return ask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each is asked at each concurrency")
    parser.add_argument("--only", default=",".join(WAYS), help="which ways")
    parser.add_argument("--peers", nargs="?", const="", metavar="DIRECTORY", help="what people use, too")
    options = parser.parse_args()
    model, request = made_once().path("half_plus_two_tf2"), small_request()
    output = subprocess.check_output([sys.executable, "-c", _RUN, str(model)], stderr=subprocess.DEVNULL, text=True)
    run, run_cpu = map(float, output.split())
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        asked: dict[str, tuple[int, Asker]] = {}
        for name, kind in (("echo", "echo"), ("embedded server", "embedded")):
            ports, _ = stack.enter_context(server(kind, model))
            asked[name] = ports["pid"], grpc_asker(ports["grpc"], request)
            if kind == "embedded":
                asked["... over a connection each"] = ports["pid"], connection_each(ports["grpc"], request)
                body = b'{"instances": [1.0, 2.0, 5.0]}'
                asked["... over REST"] = ports["pid"], rest_asker(ports["rest"], body)
        for way in filter(None, options.only.split(",")):
            ports_in = folder / way.replace(" ", "-")
            command = [sys.executable, "-m", "benchmarks.embedded_ways.servers", way, str(model), str(ports_in)]
            ports = stack.enter_context(program(command, ports_in))
            each = connection_each if way == "two processes" else grpc_asker
            asked[f"way: {way}"] = ports["pid"], each(ports["grpc"], request)
        if options.peers is not None:
            where = options.peers or stack.enter_context(tempfile.TemporaryDirectory())
            for peer in PEERS:
                ports_in = folder / peer.name
                command = [installed(peer, pathlib.Path(where)), str(PROGRAM), peer.name, str(model), str(ports_in)]
                ports = stack.enter_context(program(command, ports_in))
                asked[peer.title] = ports["pid"], peer.asker(ports["rest"])
        loads = measured(asked, options.seconds)
        memory = {name: sum(resident(pid) for pid in family(asked[name][0])) for name in asked}
    print(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}, grpcio {grpc.__version__}"
    )
    print(f"TF_SessionRun in a loop: {run * 1e6:.0f} us, {run_cpu * 1e6:.0f} us of processor time\n")
    print_table(loads, memory, run, run_cpu)


def measured(asked: dict[str, tuple[int, Asker]], seconds: float) -> dict[tuple[str, int], list[Load]]:
    """Each asked at each concurrency, in turns: the machine's other work falls on all."""
    loads: dict[tuple[str, int], list[Load]] = {}
    for concurrency in CONCURRENCIES:
        for _ in range(TURNS):
            for name, (pid, asker) in asked.items():
                load = Load()
                measure(load, pid, asker, concurrency, seconds / TURNS)
                loads.setdefault((name, concurrency), []).append(load)
    return loads


def print_table(loads: dict[tuple[str, int], list[Load]], memory: dict[str, float], run: float, run_cpu: float) -> None:
    print("microseconds a request, and times (echo + TF_SessionRun), turn by turn; processor time is the server's")
    heads = "".join(f" {n:>3} at once: us | times | cpu us |" for n in CONCURRENCIES)
    print(f"| {'what':<28} | MiB  |{heads}")
    print(f"|{'-' * 30}|------|" + "-----------------|-------|--------|" * len(CONCURRENCIES))
    for name in memory:
        row = f"| {name:<28} | {memory[name]:>4.0f} |"
        for concurrency in CONCURRENCIES:
            ours, echo = loads[name, concurrency], loads["echo", concurrency]
            wall = statistics.median(load.per_call for load in ours)
            times = statistics.median(a.per_call / (b.per_call + run) for a, b in zip(ours, echo, strict=True))
            cpu = statistics.median(load.cpu_per_call for load in ours)
            row += f" {wall * 1e6:>15.0f} | {times:>5.2f} | {cpu * 1e6:>6.0f} |"
        print(row)


if __name__ == "__main__":
    main()
