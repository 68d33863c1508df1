"""What the embedded model server costs, beside real things in one run.

    python -m benchmarks.embedded_server [--seconds 2] [--requests 100000] [--reloads 100]
        [--only start,grpc,rest,large,memory,slow,batching]

Peers: a minimal server on Python's TensorFlow, an echo server of the same gRPC library, and TF_SessionRun in a loop. Servers are
processes of their own and so is the client; all share the machine's cores. A few minutes in all.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import queue
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import grpc

from component_tests.fakes.saved_models import SavedModels, made_once
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

PREDICT = "/tensorflow.serving.PredictionService/Predict"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
STARTS_WITHIN = 180.0  # seconds
CONCURRENCIES = (1, 8, 32)
MEGABYTE = 2**20


# ------------------------------------------------------------------------------------------------------- processes


@contextlib.contextmanager
def server(kind: str, model: pathlib.Path, *flags: str) -> Iterator[tuple[dict[str, int], float]]:
    """A running server: its ports (and pid), and the seconds from exec until it answered AVAILABLE (or answered at all)."""
    with tempfile.TemporaryDirectory() as folder:
        port_file = pathlib.Path(folder) / "ports"
        if kind == "embedded":
            own = [f"--port_file={port_file}", "--bind_address=127.0.0.1", "--model_name=m"]
            command = ["infra_validator.embedded_server", *own, f"--model_base_path={model.parent}", *flags]
        else:
            command = ["benchmarks.embedded_server_peers", kind, str(model), str(port_file)]
        began = time.perf_counter()
        with (pathlib.Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-W", "ignore", "-m", *command], stdout=log, stderr=log)
        try:
            ports = wait_for_ports(port_file, process)
            with grpc.insecure_channel(
                f"127.0.0.1:{ports['grpc']}", options=[("grpc.initial_reconnect_backoff_ms", 5)]
            ) as channel:
                if kind == "embedded":
                    wait_until_available(channel)
                else:
                    grpc.channel_ready_future(channel).result(STARTS_WITHIN)
            yield ports, time.perf_counter() - began
        finally:
            process.kill()
            process.wait()


def wait_for_ports(path: pathlib.Path, process: subprocess.Popen[bytes]) -> dict[str, int]:
    end = time.monotonic() + STARTS_WITHIN
    while not path.exists():
        if process.poll() is not None or time.monotonic() > end:
            sys.exit(f"{process.args!r} did not start")
        time.sleep(0.002)
    ports: dict[str, int] = json.loads(path.read_text())
    return ports


def wait_until_available(channel: grpc.Channel) -> None:
    request = serving_pb2.GetModelStatusRequest(model_spec=serving_pb2.ModelSpec(name="m")).SerializeToString()
    call = channel.unary_unary("/tensorflow.serving.ModelService/GetModelStatus", bytes, bytes)
    while True:
        with contextlib.suppress(grpc.RpcError):
            response = serving_pb2.GetModelStatusResponse.FromString(call(request, timeout=STARTS_WITHIN))
            if any(entry.state == 30 for entry in response.model_version_status):
                return
        time.sleep(0.005)


def resident(pid: int) -> float:
    """MiB of memory that a process holds."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert match is not None
    return int(match[1]) / 1024


# ----------------------------------------------------------------------------------------------------------- load


def small_request() -> bytes:
    return predict_request(struct.pack("3f", 1.0, 2.0, 5.0), [3])


def predict_request(content: bytes, shape: list[int]) -> bytes:
    request = serving_pb2.PredictRequest(model_spec=serving_pb2.ModelSpec(name="m"))
    tensor = request.inputs["x"]
    tensor.dtype = tensorflow_pb2.DT_FLOAT
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = content
    return request.SerializeToString()


@dataclasses.dataclass
class Load:
    """What was measured of one server at one concurrency; parts add up.

    Attributes:
      times: seconds of each request.
      seconds: how long was asked.
      cpu: seconds of processor time that the server spent meanwhile.
    """

    times: list[float] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0

    @property
    def per_call(self) -> float:
        return self.seconds / len(self.times)

    @property
    def cpu_per_call(self) -> float:
        return self.cpu / len(self.times)

    def row(self, name: str, concurrency: int) -> str:
        ordered = sorted(self.times)
        p50, p99 = (ordered[int(len(ordered) * share)] * 1e3 for share in (0.5, 0.99))
        wall, cpu = self.per_call * 1e6, self.cpu_per_call * 1e6
        return f"| {name:<38} | {concurrency:>11} | {1e6 / wall:>7.0f} | {wall:>7.0f} | {cpu:>11.0f} | {p50:>7.2f} | {p99:>7.2f} |"


HEAD = (
    "| what                                   | concurrency | per sec | us/call | cpu us/call |  p50 ms |  p99 ms |\n"
    "|----------------------------------------|-------------|---------|---------|-------------|---------|---------|"
)


def measure(load: Load, pid: int, ask: Callable[[], Callable[[], object]], concurrency: int, seconds: float) -> None:
    """Ask with ``concurrency`` threads and add what is seen to ``load``; ``ask`` makes each thread its own asker."""
    times: list[list[float]] = [[] for _ in range(concurrency)]
    end = time.perf_counter() + seconds

    def work(mine: list[float]) -> None:
        once = ask()
        once()
        while (began := time.perf_counter()) < end:
            once()
            mine.append(time.perf_counter() - began)

    spent = cpu_seconds(pid)
    with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
        for done in [pool.submit(work, mine) for mine in times]:
            done.result()
    load.cpu += cpu_seconds(pid) - spent
    load.times += [value for mine in times for value in mine]
    load.seconds += seconds


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its children so far."""
    spent = 0
    for one in family(pid):
        numbers = pathlib.Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        spent += int(numbers[11]) + int(numbers[12])
    return spent / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and its children."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            found += [child for name in (task / "children").read_text().split() for child in family(int(name))]
    return found


def grpc_asker(port: int, request: bytes) -> Callable[[], Callable[[], object]]:
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=UNLIMITED)
    call = channel.unary_unary(PREDICT, bytes, bytes)
    return lambda: lambda: call(request, timeout=60)


def rest_asker(port: int, body: bytes, path: str = "/v1/models/m:predict") -> Callable[[], Callable[[], object]]:
    def make() -> Callable[[], object]:
        connection = http.client.HTTPConnection("127.0.0.1", port)

        def once() -> None:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status

        return once

    return make


# -------------------------------------------------------------------------------------------------------- figures


def start(models: SavedModels, options: argparse.Namespace) -> None:
    print("\n1. From exec to AVAILABLE (seconds, half-plus-two)")
    model = models.path("half_plus_two_tf2")
    times = []
    for _ in range(5):
        with server("embedded", model) as (_, seconds):
            times.append(seconds)
    with server("minimal", model) as (_, minimal):
        pass
    best = sorted(times)[len(times) // 2]
    print(f"embedded: min {min(times):.2f}, median {best:.2f}, max {max(times):.2f}   minimal server: {minimal:.2f}")
    print(f"aim: at most 1.0, and 10 times faster than the minimal server (median is {minimal / best:.1f} times)")


def session_run_loop(model: pathlib.Path, count: int = 20000) -> tuple[float, float]:
    """Seconds and processor seconds of one TF_SessionRun of half-plus-two, one after the other in this process."""
    from infra_validator.embedded_server.engine.c_api import Tensor
    from infra_validator.embedded_server.engine.session import Session

    with Session.load(str(model), ["serve"]) as session:
        feeds, fetches = session.endpoints(["serving_default_x:0"]), session.endpoints(["StatefulPartitionedCall:0"])
        x = Tensor.from_memory(1, [3], struct.pack("3f", 1.0, 2.0, 5.0))
        session.run(feeds, [x], fetches)
        began, spent = time.perf_counter(), time.process_time()
        for _ in range(count):
            session.run(feeds, [x], fetches)
        return (time.perf_counter() - began) / count, (time.process_time() - spent) / count


_RUN = "import pathlib, sys; from benchmarks.embedded_server import session_run_loop as f; print(*f(pathlib.Path(sys.argv[1])))"
ROUNDS = 3  # the servers take turns, so that the machine's other load falls on all


def small_predict(models: SavedModels, options: argparse.Namespace) -> None:
    print(f"\n2. Small Predict over gRPC, {options.seconds} s each in {ROUNDS} turns\n{HEAD}")
    model, request = models.path("half_plus_two_tf2"), small_request()
    output = subprocess.check_output([sys.executable, "-c", _RUN, str(model)], stderr=subprocess.DEVNULL, text=True)
    run, run_cpu = map(float, output.split())
    loads = compared(
        model, ("echo", "echo-asyncio", "embedded", "minimal"), "grpc", lambda port: grpc_asker(port, request), options
    )
    print(f"TF_SessionRun in a loop, no transport: {run * 1e6:.0f} us, {run_cpu * 1e6:.0f} us of processor time")
    for concurrency in CONCURRENCIES:
        echo, ours = loads["echo", concurrency], loads["embedded", concurrency]
        wall, cpu = ours.per_call / (echo.per_call + run), ours.cpu_per_call / (echo.cpu_per_call + run_cpu)
        print(f"concurrency {concurrency}: {wall:.2f} times echo + run, {cpu:.2f} times in processor time (aim 1.15)")


def small_rest(models: SavedModels, options: argparse.Namespace) -> None:
    print(f"\n3. Small predict over REST, {options.seconds} s each in {ROUNDS} turns\n{HEAD}")
    body = b'{"instances": [1.0, 2.0, 5.0]}'
    model = models.path("half_plus_two_tf2")
    compared(model, ("embedded", "minimal"), "rest", lambda port: rest_asker(port, body), options)


def compared(
    model: pathlib.Path,
    kinds: tuple[str, ...],
    door: str,
    asker: Callable[[int], Callable[[], Callable[[], object]]],
    options: argparse.Namespace,
) -> dict[tuple[str, int], Load]:
    """Ask servers of all kinds in turn, at every concurrency, and print a row for each."""
    loads: dict[tuple[str, int], Load] = {}
    with contextlib.ExitStack() as stack:
        ports = {kind: stack.enter_context(server(kind, model))[0] for kind in kinds}
        for concurrency in CONCURRENCIES:
            for kind in kinds * ROUNDS:
                load = loads.setdefault((kind, concurrency), Load())
                measure(load, ports[kind]["pid"], asker(ports[kind][door]), concurrency, options.seconds / ROUNDS)
        for kind, concurrency in sorted(loads):
            print(loads[kind, concurrency].row(kind, concurrency), flush=True)
    return loads


def large(models: SavedModels, options: argparse.Namespace) -> None:
    print("\n4. A 64 MiB tensor in and out (seconds)")
    content = bytes(64 * MEGABYTE)
    began = time.perf_counter()
    for _ in range(5):
        bytearray(content)
    memcpy = (time.perf_counter() - began) / 5
    request = predict_request(content, [len(content) // 4])
    for kind in ("echo", "embedded"):
        with server(kind, models.path("identity")) as (ports, _):
            once = grpc_asker(ports["grpc"], request)()
            once()
            times = []
            for _ in range(5):
                began = time.perf_counter()
                once()
                times.append(time.perf_counter() - began)
            print(f"{kind}: min {min(times):.3f}, max {max(times):.3f}")
    print(f"memcpy of the same size: {memcpy:.3f}")
    print(
        "copies of ours: in, 1 (TF_NewTensor aligns; none if aligned already); out, 1 (TensorFlow's memory -> response)"
    )
    print("copies of grpcio's: in, slices -> bytearray -> bytes (2); out, bytes -> slice (1); kernel buffers besides")


def memory(models: SavedModels, options: argparse.Namespace) -> None:
    print("\n5. Resident memory (MiB)")
    model = models.path("half_plus_two_tf2")
    imported = float(
        subprocess.check_output([sys.executable, "-W", "ignore", "-c", _IMPORTED], stderr=subprocess.DEVNULL)
    )
    with server("embedded", model) as (ports, _):
        idle = resident(ports["pid"])
        print(
            f"embedded, idle: {idle:.0f}   python with tensorflow imported: {imported:.0f}   ratio {idle / imported:.2f} (aim 0.5)"
        )
        asker = grpc_asker(ports["grpc"], small_request())
        seen = []
        for _ in range(10):
            ask_many(asker, options.requests // 10)
            seen.append(resident(ports["pid"]))
        print(f"after each tenth of {options.requests} requests: {', '.join(f'{value:.1f}' for value in seen)}")
        slope = (seen[-1] - seen[1]) / (options.requests * 0.8) * 1e5
        print(f"slope over the last 80 %: {slope:+.2f} MiB per 100,000 requests")
        after = reloads(ports, model, options.reloads)
        print(f"after each tenth of {options.reloads} reloads: {', '.join(f'{value:.1f}' for value in after)}")


_IMPORTED = (
    "import os, tensorflow; print(int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGESIZE') / 2**20)"
)


def ask_many(asker: Callable[[], Callable[[], object]], count: int) -> None:
    def work() -> None:
        once = asker()
        for _ in range(count // 8):
            once()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work) for _ in range(8)]:
            done.result()


def reloads(ports: dict[str, int], model: pathlib.Path, count: int) -> list[float]:
    """Load and unload a second model ``count`` times; memory after each tenth."""
    seen = []
    with grpc.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
        call = channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest", bytes, bytes)
        for index in range(count):
            request = serving_pb2.ReloadConfigRequest()
            models = request.config.model_config_list.config
            models.add(name="m", base_path=str(model.parent), model_platform="tensorflow")
            if index % 2 == 0:
                models.add(name=f"again{index}", base_path=str(model.parent), model_platform="tensorflow")
            call(request.SerializeToString(), timeout=120)
            if (index + 1) % max(count // 10, 1) == 0:
                seen.append(resident(ports["pid"]))
    return seen


def slow_beside_fast(models: SavedModels, options: argparse.Namespace) -> None:
    print(f"\n6. A model of 1 s a request beside a fast one, {2 * options.seconds} s each\n{HEAD}")
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "models.config"
        entries = [("m", models.base_path("half_plus_two_tf2")), ("slow", models.base_path("slow"))]
        text = "".join(f'config {{ name: "{n}" base_path: "{p}" model_platform: "tensorflow" }} ' for n, p in entries)
        config.write_text(f"model_config_list {{ {text} }}")
        with server("embedded", entries[0][1] / "1", f"--model_config_file={config}") as (ports, _):
            asker, alone, beside = grpc_asker(ports["grpc"], small_request()), Load(), Load()
            measure(alone, ports["pid"], asker, 4, 2 * options.seconds)
            print(alone.row("fast alone", 4))
            ended = threading.Event()
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                for _ in range(4):
                    pool.submit(keep_asking_slow, ports["grpc"], ended)
                try:
                    measure(beside, ports["pid"], asker, 4, 2 * options.seconds)
                finally:
                    ended.set()
            print(beside.row("fast beside 4 clients of the slow one", 4))


def keep_asking_slow(port: int, ended: threading.Event) -> None:
    request = serving_pb2.PredictRequest(model_spec=serving_pb2.ModelSpec(name="slow"))
    request.inputs["seconds"].CopyFrom(tensorflow_pb2.TensorProto(dtype=tensorflow_pb2.DT_FLOAT, float_val=[1.0]))
    once = grpc_asker(port, request.SerializeToString())()
    while not ended.is_set():
        once()


def batching(models: SavedModels, options: argparse.Namespace) -> None:
    print(
        "\nBatching: what one run costs a row alone and in a batch, and what bringing rows together costs (microseconds)"
    )
    print(subprocess.check_output([sys.executable, "-c", _BATCHES], stderr=subprocess.DEVNULL, text=True), end="")
    print(f"\nPredict over gRPC with and without batching, {options.seconds} s each in {ROUNDS} turns\n{HEAD}")
    row = predict_request(struct.pack("1024f", *range(1024)), [1, 1024])
    with tempfile.TemporaryDirectory() as folder:
        parameters = pathlib.Path(folder) / "parameters"
        parameters.write_text("max_batch_size { value: 16 } batch_timeout_micros { value: 10000 }")
        kinds = {
            "off": [],
            "on": ["--enable_batching"],
            "up to 16 in 10 ms": ["--enable_batching", f"--batching_parameters_file={parameters}"],
        }
        for name, request in (("half_plus_two_tf2", small_request()), ("matmul", row)):
            with_and_without_batching(models.path(name), name, request, kinds, options.seconds / ROUNDS)


def with_and_without_batching(
    model: pathlib.Path, name: str, request: bytes, kinds: dict[str, list[str]], seconds: float
) -> None:
    """Ask a server with each of the kinds' flags in turn, and print a row for each."""
    with contextlib.ExitStack() as stack:
        ports = {kind: stack.enter_context(server("embedded", model, *flags))[0] for kind, flags in kinds.items()}
        for concurrency in (1, 32):
            loads = {kind: Load() for kind in kinds}
            for kind, load in [*loads.items()] * ROUNDS:
                measure(load, ports[kind]["pid"], grpc_asker(ports[kind]["grpc"], request), concurrency, seconds)
            for kind, load in loads.items():
                print(load.row(f"{name}, {kind}", concurrency), flush=True)


_BATCHES = "from benchmarks.embedded_server import batches; batches()"


def batches() -> None:
    """Print the cost of a row in batches of 1, 8 and 32, and of a hand-over between 32 threads and a batching one."""
    from infra_validator.embedded_server.engine.c_api import Tensor
    from infra_validator.embedded_server.engine.session import Session

    models = made_once()
    for name, width in (("half_plus_two_tf2", 1), ("matmul", 1024)):
        with Session.load(str(models.path(name)), ["serve"]) as session:
            feeds, fetches = (
                session.endpoints(["serving_default_x:0"]),
                session.endpoints(["StatefulPartitionedCall:0"]),
            )
            for batch in (1, 8, 32):
                shape = [batch] if width == 1 else [batch, width]
                x = Tensor.from_memory(1, shape, bytes(4 * batch * width))
                times = []
                for _ in range(500):
                    began = time.perf_counter()
                    session.run(feeds, [x], fetches)
                    times.append(time.perf_counter() - began)
                print(f"{name:<20} batch {batch:>2}: {sorted(times)[250] / batch * 1e6:7.1f} a row")
    print(f"hand-over to a batching thread and back, 32 at once: {hand_over() * 1e6:.1f} a row")


def hand_over(senders: int = 32, rounds: int = 200) -> float:
    """Seconds a row of putting rows into a queue, taking up to 32 out, and answering each; nothing is computed."""
    rows: queue.SimpleQueue[concurrent.futures.Future[int] | None] = queue.SimpleQueue()

    def scheduler() -> None:
        while (row := rows.get()) is not None:
            batch = [row]
            with contextlib.suppress(queue.Empty):
                while len(batch) < senders and (more := rows.get_nowait()) is not None:
                    batch.append(more)
            for one in batch:
                one.set_result(0)

    def send() -> None:
        for _ in range(rounds):
            future: concurrent.futures.Future[int] = concurrent.futures.Future()
            rows.put(future)
            future.result()

    thread = threading.Thread(target=scheduler)
    thread.start()
    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(senders) as pool:
        for done in [pool.submit(send) for _ in range(senders)]:
            done.result()
    took = time.perf_counter() - began
    rows.put(None)
    thread.join()
    return took / (senders * rounds)


FIGURES = {
    "start": start,
    "grpc": small_predict,
    "rest": small_rest,
    "large": large,
    "memory": memory,
    "slow": slow_beside_fast,
    "batching": batching,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--only", default=",".join(FIGURES))
    options = parser.parse_args()
    models = made_once()
    print(
        f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}, grpcio {grpc.__version__}"
    )
    for name in options.only.split(","):
        FIGURES[name](models, options)


if __name__ == "__main__":
    main()
