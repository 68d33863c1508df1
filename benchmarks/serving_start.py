"""How long ``infra_validator.serving`` takes until a model is ready: where the time goes, and what the spare server saves the later ones.

    python -m benchmarks.serving_start [--pairs 10]

Servers with and without a spare are started in turns, so that whatever else the machine does is beside both. A spare has the time that it
needs to be ready, as it has where the first server is used for a second.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time

from benchmarks.table import print_table
from component_tests.fakes.saved_models import made_once
from infra_validator.testing import spares
from infra_validator.testing.running_server import serving

_LAPS = """
import os, sys, time
laps, last = [], time.perf_counter()
def lap():
    global last
    laps.append(time.perf_counter() - last)
    last = time.perf_counter()
from infra_validator.embedded_server import main
from infra_validator.embedded_server.server import Server
lap()
from infra_validator.embedded_server.engine import c_api
c_api.load_library()
lap()
parsed = main.parse(["--port_file=" + sys.argv[2], "--bind_address=127.0.0.1", "--model_name=m", "--model_base_path=" + sys.argv[1]])
Server(parsed.flags, {*parsed.given}).start()
lap()
print(*laps)
sys.stdout.flush()
os._exit(0)
"""


def _laps(base_path: pathlib.Path, port_file: pathlib.Path) -> list[float]:
    """Seconds: Python's start, our imports with grpc's and protobuf's, TensorFlow's C library, the model and the ports."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    python = time.perf_counter() - began
    command = [sys.executable, "-c", _LAPS, str(base_path), str(port_file)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    )
    return [python, *(float(lap) for lap in done.stdout.split())]


def _start(model: pathlib.Path) -> float:
    began = time.perf_counter()
    with serving(model):
        return time.perf_counter() - began


def _rest() -> None:
    """Until the spare waits: it has used no processor time for half a second."""
    assert spares.current()
    used, since = -1, time.monotonic()
    while time.monotonic() - since < 0.5:
        now = _processor_time(spares.current())
        if now != used:
            used, since = now, time.monotonic()
        time.sleep(0.02)


def _processor_time(pid: int) -> int:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _private_mebibytes(pid: int) -> float:
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=10)
    pairs = parser.parse_args().pairs
    models = made_once()
    model, base_path = models.path("half_plus_two"), models.base_path("half_plus_two")
    scratch = pathlib.Path("/tmp") / f"serving-start-{os.getpid()}"
    laps = [_laps(base_path, scratch) for _ in range(pairs)]
    scratch.unlink(missing_ok=True)
    names = ("python itself", "imports: ours, grpc, protobuf", "TensorFlow's C library", "the model, the ports")
    print_table(
        "Where a server's start goes", [(name, [lap[index] for lap in laps], "") for index, name in enumerate(names)]
    )
    first, second, third, without, later = [], [], [], [], []
    for _ in range(pairs):
        spares.end()
        first.append(_start(model))
        _rest()
        second.append(_start(model))
        _rest()
        third.append(_start(model))
    memory = []
    for _ in range(pairs):
        spares.end()
        without.append(_start(model))
        _rest()
        memory.append(_private_mebibytes(spares.current()))
        later.append(_start(model))
    ratios = [with_spare / alone for with_spare, alone in zip(later, without, strict=True)]
    print_table(
        "serving(model) until it is ready",
        [
            ("the first", first, ""),
            ("the second, with the spare", second, ""),
            ("the third, with the spare", third, ""),
            ("in pairs: from nothing", without, ""),
            ("in pairs: with the spare", later, f"{statistics.median(ratios):.2f} of it, median of the pairs' ratios"),
        ],
    )
    print(f"\nA spare holds {statistics.median(memory):.0f} MiB for itself while it waits.")
    spares.end()


if __name__ == "__main__":
    main()
