"""What the live display of a terminal costs: the whole command drawing on a pseudo-terminal, and with plain lines, pair by pair.

    python -m benchmarks.display [--rounds N]

The model answers after two seconds, so that there is something to draw. Processor time is that of the command and of the server it
started.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import pty
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from benchmarks.table import print_table
from component_tests.fakes.saved_models import made_once

_SPEC = json.dumps({"tensorflow_serving": {}, "local_process": {}, "model_name": "m"})


def run(model: pathlib.Path, requests: pathlib.Path, terminal: str) -> tuple[float, float, int]:
    """(seconds, seconds of processor time, octets written to the terminal) of one command."""
    master, slave = pty.openpty()
    written = 0

    def read() -> None:
        nonlocal written
        try:
            while data := os.read(master, 65536):
                written += len(data)
        except OSError:  # how a terminal ends
            pass

    reader = threading.Thread(target=read)
    command = [sys.executable, "-m", "infra_validator", "validate", "--model", str(model), "--serving-spec", _SPEC]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--requests", str(requests)],
        stdout=subprocess.DEVNULL,
        stderr=slave,
        env={**os.environ, "TERM": terminal},
    )
    os.close(slave)
    reader.start()
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    reader.join()
    os.close(master)
    assert process.returncode == 0, process.returncode
    return took, used.ru_utime + used.ru_stime, written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="pairs of commands")
    rounds = parser.parse_args().rounds
    model = made_once().path("slow")
    took: dict[str, list[tuple[float, float, int]]] = {"xterm": [], "dumb": []}
    with tempfile.TemporaryDirectory() as folder:
        requests = pathlib.Path(folder, "requests.json")
        requests.write_text('{"inputs": 2.0}')
        for n in range(2 * rounds):
            terminal = "xterm" if (n + n // 2) % 2 == 0 else "dumb"
            took[terminal].append(run(model, requests, terminal))
    rows = []
    for what, index in (("wall", 0), ("processor", 1)):
        drawn, plain = ([sample[index] for sample in took[terminal]] for terminal in ("xterm", "dumb"))
        more = statistics.median(d - p for d, p in zip(drawn, plain, strict=True)) * 1e3
        rows.append((f"{what}, drawn", drawn, f"median of the pairs' differences: {more:+.0f} ms"))
        rows.append((f"{what}, lines", plain, ""))
    print_table("A command whose only request takes two seconds", rows)
    print(f"written to the terminal: {statistics.median(sample[2] for sample in took['xterm']):.0f} octets")


if __name__ == "__main__":
    main()
