"""What a verdict costs: the whole command beside its floor, the early ends, the imports, a 1 GiB model.

    python -m benchmarks.validate [--rounds N] [--beside DIR] [--only FIGURE]

With --beside, the whole command with one request is also run from DIR, a checkout of another state, pair by pair.

The floor of LOAD_AND_QUERY is the same server started by hand, asked until AVAILABLE, one Predict, killed; commands and floor
alternate in one run. Everything is measured from outside, as whole processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

import grpc

from benchmarks.table import print_table
from component_tests.fakes.saved_models import made_once
from infra_validator.protos import tensorflow_pb2, tensorflow_serving_pb2

SPEC = json.dumps({"tensorflow_serving": {}, "local_process": {}, "model_name": "m"})


def seconds_of(arguments: list[str], expected: int, tree: str = "") -> tuple[float, str]:
    """Run a command, with the package of another checkout if ``tree`` names one; returns how long it took and what it printed."""
    environment = {**os.environ, "PYTHONPATH": tree} if tree else None
    began = time.perf_counter()
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=tree or None, env=environment)
    took = time.perf_counter() - began
    if done.returncode != expected:
        sys.exit(f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return took, done.stdout


def processor_seconds_of(code: str) -> float:
    """The processor time of a Python program, which the machine's other work hardly changes."""
    process = subprocess.Popen([sys.executable, "-c", code])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{code} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


def validate(model: pathlib.Path, expected: int, *more: str, spec: str = SPEC) -> tuple[float, str]:
    command = [sys.executable, "-m", "infra_validator", "validate", "--model", str(model), "--quiet"]
    return seconds_of([*command, "--serving-spec", spec, "--format", "json", *more], expected)


def start_by_hand(model: pathlib.Path, folder: pathlib.Path) -> tuple[subprocess.Popen[bytes], float]:
    """Start the embedded server; returns it and the moment of its exec."""
    base = folder / "models" / "m"
    base.mkdir(parents=True)
    (base / "1").symlink_to(model)
    flags = [f"--port_file={folder}/ports", "--bind_address=127.0.0.1", "--model_name=m", f"--model_base_path={base}"]
    began = time.perf_counter()
    log = (folder / "log").open("wb")
    return subprocess.Popen(
        [sys.executable, "-m", "infra_validator.embedded_server", *flags], stdout=log, stderr=log
    ), began


def by_hand(model: pathlib.Path) -> tuple[float, float]:
    """(exec to AVAILABLE, the whole with one Predict and the kill) in seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        server, began = start_by_hand(model, folder)
        try:
            while not (folder / "ports").exists():
                time.sleep(0.001)
            port = json.loads((folder / "ports").read_text())["grpc"]
            options = [("grpc.initial_reconnect_backoff_ms", 5), ("grpc.max_reconnect_backoff_ms", 5)]
            options += [("grpc.min_reconnect_backoff_ms", 5)]
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
                wait_until_available(channel)
                available = time.perf_counter() - began
                predict(channel)
        finally:
            server.kill()
            server.wait()
        return available, time.perf_counter() - began


def wait_until_available(channel: grpc.Channel) -> None:
    ask = channel.unary_unary(
        "/tensorflow.serving.ModelService/GetModelStatus",
        request_serializer=tensorflow_serving_pb2.GetModelStatusRequest.SerializeToString,
        response_deserializer=tensorflow_serving_pb2.GetModelStatusResponse.FromString,
    )
    request = tensorflow_serving_pb2.GetModelStatusRequest()
    request.model_spec.name = "m"
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        try:
            if any(version.state == 30 for version in ask(request, timeout=5).model_version_status):
                return
        except grpc.RpcError:
            time.sleep(0.002)
    sys.exit("the server by hand never became AVAILABLE")


def predict(channel: grpc.Channel) -> None:
    call = channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        request_serializer=tensorflow_serving_pb2.PredictRequest.SerializeToString,
        response_deserializer=tensorflow_serving_pb2.PredictResponse.FromString,
    )
    request = tensorflow_serving_pb2.PredictRequest()
    request.model_spec.name = "m"
    tensor = request.inputs["x"]
    tensor.dtype = tensorflow_pb2.DT_FLOAT
    tensor.tensor_shape.dim.add(size=1)
    tensor.float_val.append(1.0)
    call(request, timeout=30)


def phase_of(report: str, name: str) -> float:
    phases = json.loads(report)["serving_binaries"][0]["phases"]
    return float(sum(phase["seconds"] for phase in phases if phase["name"] == name))


def from_start_to_verdict(report: str) -> float:
    """Seconds of all attempts without their preparation, from the first Start."""
    attempts = json.loads(report)["serving_binaries"][0]["attempts"]
    return float(sum(p["seconds"] for a in attempts for p in a["phases"] if p["name"] not in ("prepare",)))


def figure_1_and_3(rounds: int, model: pathlib.Path, folder: pathlib.Path) -> None:
    requests = folder / "requests.json"
    requests.write_text('{"instances": [1.0]}')
    ours, floor, available = [], [], []
    for _ in range(rounds):
        ours.append(validate(model, 0, "--requests", str(requests))[0])
        ready, whole = by_hand(model)
        available.append(ready)
        floor.append(whole)
    over = [a - b for a, b in zip(ours, floor, strict=True)]
    importing = [seconds_of([sys.executable, "-c", "import tensorflow"], 0)[0]]
    ratio = statistics.median(importing) / statistics.median(available)
    print_table(
        "1 and 3. half-plus-two, LOAD_AND_QUERY, embedded server, from shell to shell",
        [
            ("infra-validator validate", ours, "aim 1.5"),
            ("the same by hand (floor)", floor, ""),
            ("overhead, pair by pair", over, "aim at most 0.5"),
            ("embedded server, exec to AVAILABLE", available, "aim 1.0"),
            ("import tensorflow", importing, f"{ratio:.1f} times exec to AVAILABLE"),
        ],
    )


def figure_2(rounds: int, model: pathlib.Path) -> None:
    exiting, hanging = [], []
    at_once = json.dumps({"tensorflow_serving": {}, "local_process": {"binary_path": "/bin/false"}})
    with tempfile.TemporaryDirectory() as folder:
        sleeper = pathlib.Path(folder) / "hang.sh"
        sleeper.write_text("#!/bin/sh\nexec sleep 600\n")
        sleeper.chmod(0o755)
        hang = json.dumps({"tensorflow_serving": {}, "local_process": {"binary_path": str(sleeper)}})
        limits = json.dumps({"max_loading_time_seconds": 2, "num_tries": 1})
        for _ in range(rounds):
            exiting.append(from_start_to_verdict(validate(model, 1, spec=at_once)[1]))
            hanging.append(from_start_to_verdict(validate(model, 1, "--validation-spec", limits, spec=hang)[1]) - 2)
    print_table(
        "2. early ends, from Start to the verdict, with everything stopped",
        [
            ("server exits at once (two tries, the second confirms)", exiting, "aim 0.5"),
            ("server hangs, 2 s limit: beyond the limit", hanging, "aim 0.2"),
        ],
    )


#: What the time of a validation goes to, in the order in which it goes: a name and the code that spends it, beyond the line before.
_STEPS = (
    ("interpreter", "pass"),
    ("imports of the command", "import infra_validator.cli.validate"),
    ("imports of the platform and the client", "w.runner_class('local_process'); w.client_class('tensorflow_serving')"),
    ("imports of the serving binary", "w.serving_binaries_function('tensorflow_serving')"),
    ("checks of specs and model, digest begun", "plan.make_plan(model, spec); Unchanged(model, {}).close()"),
)


def figure_5(rounds: int, model: pathlib.Path, folder: pathlib.Path) -> None:
    """Where the time of a validation goes."""
    requests = folder / "one.json"
    requests.write_text('{"instances": [1.0]}')
    head = f"import sys\nmodel, spec = {str(model)!r}, {SPEC!r}\n"
    heads = {
        2: "from infra_validator import wiring as w\n",
        4: "from infra_validator import plan\nfrom infra_validator.saved_model.unchanged import Unchanged\n",
    }
    rows: list[tuple[str, list[float], str]] = []
    code, before = head, [0.0] * rounds
    for number, (name, step) in enumerate(_STEPS):
        code += heads.get(number, "") + step + "\n"
        times = [processor_seconds_of(code) for _ in range(rounds)]
        rows.append((name, [time - least for time, least in zip(times, before, strict=True)], "processor time"))
        before = [statistics.median(times)] * rounds
    phases: dict[str, list[float]] = {}
    whole = []
    for _ in range(rounds):
        took, report = validate(model, 0, "--requests", str(requests))
        whole.append(took)
        for phase in json.loads(report)["serving_binaries"][0]["phases"]:
            phases.setdefault(phase["name"], []).append(phase["seconds"])
    rows += [(f"phase {name}", seconds, "") for name, seconds in phases.items()]
    known = sum(statistics.median(samples) for _, samples, _ in rows)
    rows.append(("everything else (printing, exit)", [took - known for took in whole], ""))
    rows.append(("the whole", whole, ""))
    print_table("5. where the time of one validation goes", rows)


def beside(rounds: int, model: pathlib.Path, folder: pathlib.Path, tree: str) -> None:
    """The whole command with one request here and in another checkout."""
    requests = folder / "one.json"
    requests.write_text('{"instances": [1.0]}')
    command = [sys.executable, "-m", "infra_validator", "validate", "--model", str(model), "--quiet"]
    command += ["--serving-spec", SPEC, "--requests", str(requests)]
    here, there = [], []
    for _ in range(rounds):
        here.append(seconds_of(command, 0)[0])
        there.append(seconds_of(command, 0, tree)[0])
    over = [a - b for a, b in zip(here, there, strict=True)]
    print_table(
        "validate with one request, here and in another state",
        [("here", here, ""), (tree, there, ""), ("more, pair by pair", over, "aim at most 0.050")],
    )


def figure_4(rounds: int) -> None:
    code = "import time; a = time.perf_counter(); import infra_validator; print(time.perf_counter() - a)"
    heavy = ["tensorflow", "tfx", "docker", "kubernetes", "grpc"]
    check = f"import sys, infra_validator; print([name for name in {heavy} if name in sys.modules])"
    samples = [float(seconds_of([sys.executable, "-c", code], 0)[1]) for _ in range(rounds)]
    imported = seconds_of([sys.executable, "-c", check], 0)[1].strip()
    print_table("4. import infra_validator", [("import infra_validator", samples, f"aim 0.050; heavy: {imported}")])


class Watched:
    """Notes how large a directory becomes while inside; symbolic links are not followed."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.most = 0
        self._folder = folder
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            size = 0
            for where, _, names in os.walk(self._folder):
                for name in names:
                    with contextlib.suppress(OSError):
                        size += os.lstat(os.path.join(where, name)).st_blocks * 512
            self.most = max(self.most, size)


def figure_6(rounds: int, model: pathlib.Path, folder: pathlib.Path) -> None:
    large = folder / "large"
    shutil.copytree(model, large)
    (large / "assets.extra").mkdir(exist_ok=True)
    with (large / "assets.extra" / "ballast").open("wb") as ballast:
        block = os.urandom(1 << 20)
        for _ in range(1024):
            ballast.write(block)
    scratch = folder / "scratch"
    scratch.mkdir()
    os.environ["TMPDIR"] = str(scratch)
    small_times: list[float] = []
    large_times: list[float] = []
    with Watched(scratch) as watched:
        for _ in range(rounds):
            for path, times in ((model, small_times), (large, large_times)):
                report = validate(path, 0)[1]
                times.append(phase_of(report, "prepare") + phase_of(report, "start"))
    del os.environ["TMPDIR"]
    print_table(
        "6. a 1 GiB model beside a small one: from nothing to Scheduled",
        [
            ("small model", small_times, ""),
            (
                "1 GiB model",
                large_times,
                f"temporary files at most {watched.most / 1024:.0f} KiB: linked, not copied",
            ),
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is measured")
    parser.add_argument("--beside", metavar="DIR", help="a checkout to compare the whole command with")
    parser.add_argument("--only", choices=("1", "2", "4", "5", "6", "beside"), help="print this one alone")
    arguments = parser.parse_args()
    rounds: int = arguments.rounds
    model = made_once().path("half_plus_two")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        figures: dict[str, Callable[[], None]] = {
            "1": lambda: figure_1_and_3(rounds, model, folder),
            "2": lambda: figure_2(rounds, model),
            "4": lambda: figure_4(rounds),
            "5": lambda: figure_5(rounds, model, folder),
            "6": lambda: figure_6(rounds, model, folder),
        }
        if arguments.beside:
            figures["beside"] = lambda: beside(rounds, model, folder, arguments.beside)
        for number, figure in figures.items():
            if arguments.only in (None, number):
                figure()


if __name__ == "__main__":
    main()
