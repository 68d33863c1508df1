"""What a probe costs, beside bare interpreters and a grpcio script; what the sidecar costs and how soon it knows.

    python -m benchmarks.probe [--rounds N] [--python PYTHON] [--beside NAME=COMMAND ...]

The programs alternate in one run, so that the machine's load is the same for all; wall time, CPU time and memory are those of whole
processes. The server is a real gRPC server in a process of its own. ``--beside`` adds a program of your own, such as the original probe:
``{port}`` in its command is replaced.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import grpc

from benchmarks.table import print_table
from component_tests.fakes.servers.model_status_server import AVAILABLE, LOADING, ModelStatusServer, version
from infra_validator.protos import health_pb2 as health

ROOT = pathlib.Path(__file__).parents[1]

GRPCIO_SCRIPT = """\
import sys, grpc
from infra_validator.protos import tensorflow_serving_pb2 as serving
channel = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}")
call = channel.unary_unary("/tensorflow.serving.ModelService/GetModelStatus", None, serving.GetModelStatusResponse.FromString)
request = serving.GetModelStatusRequest(model_spec=serving.ModelSpec(name="m")).SerializeToString()
sys.exit(call(request, timeout=10).model_version_status[0].state != 30)
"""

#: What an installer writes for the console script.
CONSOLE_SCRIPT = "import sys; from infra_validator.probe.command import entry; sys.exit(entry())"

H2_IMPORT = "import socket, h2.connection"

Sample = tuple[float, float, float]  # wall seconds, CPU seconds, MiB at most


#: Runs a command and prints (wall, CPU, KiB). In a bare interpreter, as the memory of whoever starts a process counts as that
#: process's own until it has become the other program.
STARTER = """\
import os, sys, time
null = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (1, 2)]
began = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=null)
_, status, usage = os.wait4(pid, 0)
print(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def measure(python: str, command: list[str]) -> Sample:
    """Run a command to its end, which must be a success."""
    starter = [python, "-I", "-S", "-c", STARTER, *command]
    done = subprocess.run(starter, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(f"{shlex.join(command)} ended with {done.returncode}")
    wall, cpu, kib = map(float, done.stdout.split())
    return wall, cpu, kib / 1024


def probes(rounds: int, python: str, beside: list[str]) -> None:
    """The table of one probe."""
    with tempfile.TemporaryDirectory() as folder, ModelStatusServer() as server:
        server.models["m"] = [version(1, AVAILABLE)]
        pyz = f"{folder}/probe.pyz"
        build = [sys.executable, "tools/build_probe_pyz.py", "--output"]
        subprocess.run([*build, pyz, "--compile-for", python], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        flags = [f"-addr=127.0.0.1:{server.port}", "-model-name=m"]
        script = [sys.executable, "-c", CONSOLE_SCRIPT]
        commands = {
            "python3 -I -S -c pass": [python, "-I", "-S", "-c", "pass"],
            "python3 -I -S -c 'import socket' (the measure)": [python, "-I", "-S", "-c", "import socket"],
            "python3 -I -S probe.pyz": [python, "-I", "-S", pyz, *flags],
            "console script tfs_model_status_probe": [*script, *flags],
            "console script with -transport=grpcio": [*script, *flags, "-transport=grpcio"],
            "grpcio script": [sys.executable, "-c", GRPCIO_SCRIPT, str(server.port)],
            "python3 -c 'import h2.connection' (no call yet)": [sys.executable, "-c", H2_IMPORT],
        }
        for item in beside:
            name, _, command = item.partition("=")
            commands[name] = shlex.split(command.replace("{port}", str(server.port)))
        samples: dict[str, list[Sample]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, words in commands.items():
                samples[name].append(measure(python, words))
    bare = samples["python3 -I -S -c 'import socket' (the measure)"]
    for title, index, scale, unit in (("Wall time", 0, 1e3, "ms"), ("CPU time", 1, 1e3, "ms"), ("Memory", 2, 1, "MiB")):
        floor = statistics.median(sample[index] for sample in bare)
        rows = [
            (
                name,
                [sample[index] * scale for sample in taken],
                f"{statistics.median(s[index] for s in taken) / floor:.2f} x the measure",
            )
            for name, taken in samples.items()
        ]
        print_table(f"{title} of one probe, {rounds} rounds", rows, unit)


def memory_of(pid: int) -> float:
    """Resident memory in MiB."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:")) / 1024


def cpu_of(pid: int) -> float:
    """CPU seconds used so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def sidecar(checks: int, changes: int) -> None:
    """The tables of the sidecar: memory and time over many checks, and how soon a change is seen."""
    with ModelStatusServer() as server:
        server.models["m"] = [version(1, AVAILABLE)]
        command = [
            sys.executable,
            "-m",
            "infra_validator",
            "probe-sidecar",
            f"--addr=127.0.0.1:{server.port}",
            "--model=m",
        ]
        process = subprocess.Popen(
            [*command, "--grpc-listen=127.0.0.1:0", "--http-listen="], stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stderr is not None
        try:
            port = process.stderr.readline().rpartition(":")[2].strip()
            threading.Thread(target=process.stderr.read, daemon=True).start()
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                report(channel, server, process.pid, checks, changes)
        finally:
            process.terminate()
            process.wait()


def report(channel: grpc.Channel, server: ModelStatusServer, pid: int, checks: int, changes: int) -> None:
    request = health.HealthCheckRequest(service="m").SerializeToString()
    check = channel.unary_unary("/grpc.health.v1.Health/Check", None, health.HealthCheckResponse.FromString)
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch", None, health.HealthCheckResponse.FromString)(request)
    changed = iter(watch)
    while next(changed).status != health.HealthCheckResponse.SERVING:
        pass
    memory, took = [], []
    for number in range(checks):
        if number % (checks // 10) == 0:
            memory.append(memory_of(pid))
        began = time.perf_counter()
        check(request, timeout=60)
        took.append((time.perf_counter() - began) * 1e3)
    memory.append(memory_of(pid))
    shown = ", ".join(f"{mib:.1f}" for mib in memory)
    print(f"\nSidecar: memory in MiB at every tenth of {checks} checks: {shown}")
    seen = []
    for number in range(changes):
        time.sleep(0.037 * (number % 5))  # not in step with its questions
        server.models["m"] = [version(1, LOADING if number % 2 == 0 else AVAILABLE)]
        began = time.perf_counter()
        next(changed)
        seen.append((time.perf_counter() - began) * 1e3)
    watch.cancel()  # type: ignore[no-untyped-call]
    before, began = cpu_of(pid), time.perf_counter()
    time.sleep(10)
    share = (cpu_of(pid) - before) / (time.perf_counter() - began)
    rows = [
        ("one Check", took, f"{checks} checks"),
        ("a changed state is seen by a Watch", seen, f"{changes} changes; goal: 200"),
    ]
    print_table("Sidecar", rows, "ms")
    print(f"CPU when nobody asks it, ten questions a second of its own: {share * 100:.1f} % of a core")


def main() -> None:
    parser = argparse.ArgumentParser(description="What a probe and the sidecar cost.")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--checks", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--python", default=getattr(sys, "_base_executable", sys.executable))
    parser.add_argument("--beside", action="append", default=[], metavar="NAME=COMMAND")
    arguments = parser.parse_args()
    probes(arguments.rounds, arguments.python, arguments.beside)
    sidecar(arguments.checks, arguments.changes)


if __name__ == "__main__":
    main()
