"""The race on Docker: TFX 1.16's own executor, the same by hand, and ours; same daemon, same image, same model, interleaved.

    python -m benchmarks.docker_race [--pairs 5] [--long-pairs 2] [--only load,query,crash,hang,large,tags,kill]

TFX's executor and ours are called in processes of their own that have done their imports before the clock starts. By hand means: create,
start, ask for the status until it is AVAILABLE, send the requests, kill, remove, as fast as docker-py and gRPC let one do it. TFX is cut
off after 60 s, printed as >60. Needs a Docker daemon (tools/with_dockerd.sh) that nobody else uses meanwhile, and TFX; about ten
minutes.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import docker
import grpc

from component_tests.fakes.saved_models import made_once
from component_tests.real_platforms.docker_images import build
from infra_validator.protos import tensorflow_serving_pb2

NAME = "examples"
IMAGE = "tensorflow/serving"
CUT_OFF = 60.0  # seconds
KILLS = 20
GIBIBYTE = 2**30
PREDICT = "/tensorflow.serving.PredictionService/Predict"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
CUT = float("inf")


@dataclasses.dataclass
class Run:
    """One run of one side.

    Attributes:
      seconds: from the call to its return; infinite if it was cut off.
      scheduled: until the container was started.
      copied: the most bytes that stood in its scratch directory.
      blessed: its verdict.
    """

    seconds: float
    scheduled: float = 0.0
    copied: int = 0
    blessed: bool | None = None


class Side:
    """A process that runs one executor, case after case."""

    def __init__(self, name: str, folder: pathlib.Path) -> None:
        self.folder = folder / name
        self._cases = 0
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.docker_race_executor", name]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout

    def wait_until_ready(self) -> None:
        if self._from.readline().strip() != "ready":
            sys.exit("an executor's process did not start: is TFX installed?")

    def run(self, case: dict[str, Any], kill_after: float = CUT_OFF) -> Run:
        self._cases += 1
        folder = self.folder / str(self._cases)
        folder.mkdir(parents=True)
        self._to.write(json.dumps({**case, "folder": str(folder)}) + "\n")
        self._to.flush()
        child = int(self._from.readline().split()[1])
        killer = threading.Timer(kill_after, os.kill, (child, signal.SIGKILL))
        killer.start()
        with watched(folder / "scratch") as peak:
            while self._from.readline().strip() != "ended":
                pass
        killer.cancel()
        try:
            if not (folder / "result").exists():
                error = folder / "error"
                if error.exists():
                    print(f"    {error.read_text().strip().splitlines()[-1][:200]}", file=sys.stderr)
                return Run(CUT, copied=max(peak))
            told = json.loads((folder / "result").read_text())
            return Run(
                told["ended"] - told["began"], first_start(told["began"], told["ended"]), max(peak), told["blessed"]
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        self._to.close()
        self._process.wait()
        self._from.close()


@contextlib.contextmanager
def watched(folder: pathlib.Path) -> Iterator[list[int]]:
    """The sizes that a directory has while it is watched."""
    sizes, end = [0], threading.Event()

    def watch() -> None:
        while not end.wait(0.05):
            total = 0
            for top, _, files in os.walk(folder):
                for name in files:
                    with contextlib.suppress(OSError):
                        total += os.stat(os.path.join(top, name)).st_size
            sizes.append(total)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        end.set()
        thread.join()


def client() -> Any:
    """A connection as anybody has it."""
    return docker.APIClient(base_url=os.environ.get("DOCKER_HOST"))


def first_start(began: float, ended: float) -> float:
    """Seconds until the daemon started a container."""
    events = client().events(since=began, until=ended + 1, filters={"event": "start"}, decode=True)
    return next((event["timeNano"] / 1e9 - began for event in events if event["timeNano"] / 1e9 > began), CUT)


def by_hand(model: pathlib.Path, image: str = f"{IMAGE}:2.19.0", examples: int = 0, limit: float = 20.0) -> Run:
    """Create, start, ask, query, kill, remove."""
    api = client()
    requests = [predict_request(float(number)) for number in range(examples)]
    began = time.time()
    body = {
        "Image": image,
        "Env": [f"MODEL_NAME={NAME}"],
        "ExposedPorts": {"8500/tcp": {}, "8501/tcp": {}},
        "HostConfig": {
            "Mounts": [{"Type": "bind", "Source": str(model), "Target": f"/models/{NAME}/1", "ReadOnly": True}],
            "PortBindings": {f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}] for port in (8500, 8501)},
        },
    }
    container = api.create_container_from_config(body)["Id"]
    api.start(container)
    ports = api.inspect_container(container)["NetworkSettings"]["Ports"]
    port = ports["8500/tcp"][0]["HostPort"] if ports else "1"
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.initial_reconnect_backoff_ms", 5)]) as channel:
        if wait_until_available(
            channel, began + limit, lambda: bool(api.inspect_container(container)["State"]["Running"])
        ):
            call = channel.unary_unary(PREDICT, None, None)
            for future in [call.future(request, timeout=20) for request in requests]:
                future.result()
    api.remove_container(container, force=True)
    return Run(time.time() - began)


def by_hand_at_once(model: pathlib.Path, tags: tuple[str, ...]) -> Run:
    """The same with several containers, each in a thread of its own."""
    began = time.time()
    with concurrent.futures.ThreadPoolExecutor(len(tags)) as pool:
        for run in [pool.submit(by_hand, model, f"{IMAGE}:{tag}") for tag in tags]:
            run.result()
    return Run(time.time() - began)


def wait_until_available(channel: grpc.Channel, end: float, runs: Callable[[], bool]) -> bool:
    request = tensorflow_serving_pb2.GetModelStatusRequest()
    request.model_spec.name = NAME
    call = channel.unary_unary(STATUS, None, tensorflow_serving_pb2.GetModelStatusResponse.FromString)
    while time.time() < end:
        with contextlib.suppress(grpc.RpcError):
            answer = call(request.SerializeToString(), timeout=1)
            if any(status.state == 30 for status in answer.model_version_status):
                return True
        if not runs():
            return False
        time.sleep(0.005)
    return False


def predict_request(x: float) -> bytes:
    from component_tests.unit.sample_requests.examples_on_disk import example
    from infra_validator.protos import tensorflow_pb2

    request = tensorflow_serving_pb2.PredictRequest()
    request.model_spec.name = NAME
    tensor = request.inputs["examples"]
    tensor.dtype = tensorflow_pb2.DT_STRING
    tensor.tensor_shape.dim.add().size = 1
    tensor.string_val.append(example(x))
    return request.SerializeToString()


def case(model: pathlib.Path, *tags: str, examples: int = 0, limit: float = 60.0, tries: int = 1) -> dict[str, Any]:
    """What both executors are given."""
    where = {"client_base_url": os.environ["DOCKER_HOST"]} if "DOCKER_HOST" in os.environ else {}
    return {
        "model": str(model),
        "examples": examples,
        "serving_spec": {
            "tensorflow_serving": {"tags": list(tags or ("2.19.0",))},
            "local_docker": where,
            "model_name": NAME,
        },
        "validation_spec": {"max_loading_time_seconds": int(limit), "num_tries": tries},
    }


class Race:
    """Runs the rows, and prints each as it ends."""

    def __init__(self, tfx: Side, ours: Side, model: pathlib.Path, pairs: int, long_pairs: int) -> None:
        self._tfx = tfx
        self._ours = ours
        self._model = model
        self._pairs = pairs
        self._long_pairs = long_pairs

    def load(self) -> None:
        self._three("LOAD_ONLY", case(self._model), lambda: by_hand(self._model), self._pairs, "floor + 0.6 s")

    def query(self) -> None:
        for number in (1, 100):
            given = case(self._model, examples=number)
            hand = self._hand(examples=number)
            self._three(f"LOAD_AND_QUERY, {number} examples", given, hand, self._pairs, "floor + 0.6 s")

    def crash(self) -> None:
        def twice() -> Run:
            return Run(sum(by_hand(self._model, f"{IMAGE}:crashes").seconds for _ in range(2)))

        given = case(self._model, "crashes", limit=20, tries=2)
        self._three("crashes at start, 20 s limit, 2 tries", given, twice, self._long_pairs, "1.5 s")

    def hang(self) -> None:
        given = case(self._model, "hangs", limit=5)
        hand = self._hand(image=f"{IMAGE}:hangs", limit=5.0)
        self._three("hangs for good, 5 s limit, 1 try", given, hand, self._long_pairs, "limit + 0.6 s")

    def large(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            large = pathlib.Path(name) / "large"
            shutil.copytree(self._model, large)
            (large / "assets.extra").mkdir(exist_ok=True)
            with open(large / "assets.extra" / "filler", "wb") as filler:
                filler.truncate(2 * GIBIBYTE)
            for number in range(self._long_pairs):
                for side, label in ((self._tfx, "TFX"), (self._ours, "ours")):
                    for model, size in ((self._model, "small"), (large, "2 GiB")):
                        run = side.run(case(model))
                        told = (
                            f"{run.copied} bytes copied, Scheduled after {run.scheduled:.2f} s, all {run.seconds:.2f} s"
                        )
                        print(f"| {size} model, {label}, run {number + 1} | {told} |", flush=True)

    def tags(self) -> None:
        """Three tags beside one, and the same by hand: what the machine's processors make of three servers that start at once."""
        tags = ("2.18.0", "2.19.0", "latest")
        sides: dict[str, tuple[Callable[[], Run], Callable[[], Run]]] = {
            "ours": (lambda: self._ours.run(case(self._model)), lambda: self._ours.run(case(self._model, *tags))),
            "by hand": (self._hand(), lambda: by_hand_at_once(self._model, tags)),
        }
        seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in sides}
        for number in range(self._long_pairs):
            for name, runs in sides.items():
                for which in (0, 1) if number % 2 else (1, 0):
                    seconds[name][which].append(runs[which]().seconds)
        for name, (one, three) in seconds.items():
            ratio = spread([b / a for a, b in zip(one, three, strict=True)])
            print(
                f"| one tag, then three side by side, {name} | {spread(one)} | {spread(three)} | {ratio} times one tag |",
                flush=True,
            )

    def kill(self) -> None:
        dice = random.Random(3)
        for side, label, kills in ((self._ours, "ours", KILLS), (self._tfx, "TFX", 5)):
            left = 0
            for _ in range(kills):
                side.run(case(self._model), kill_after=dice.uniform(0.0, 1.5))
                time.sleep(2)
                found = containers_of(side)
                left += len(found)
                for name in found:
                    build.docker("rm", "-f", name)
            print(f"| leftovers 2 s after SIGKILL, {label} | {left} after {kills} kills | aim 0 |", flush=True)

    def _hand(self, **how: Any) -> Callable[[], Run]:
        return lambda: by_hand(self._model, **how)

    def _three(self, name: str, given: dict[str, Any], hand: Callable[[], Run], pairs: int, aim: str) -> None:
        runs: list[tuple[Run, Run, Run]] = []
        for _ in range(pairs):
            runs.append((self._tfx.run(given), hand(), self._ours.run(given)))
        tfx, floor, ours = (spread([run.seconds for run in column]) for column in zip(*runs, strict=True))
        verdicts = {run.blessed for _, _, run in runs}
        print(f"| {name} | {tfx} | {floor} | {ours} | {aim} | ours blessed: {verdicts} |", flush=True)


def containers_of(side: Side) -> list[str]:
    """The containers that mount something of a side's folder; others may use the daemon at the same time."""
    found = []
    for name in build.docker("ps", "-aq", "--no-trunc").split():
        with contextlib.suppress(build.CannotBuild):  # gone meanwhile
            if str(side.folder) in build.docker("inspect", name):
                found.append(name)
    return found


def spread(seconds: list[float]) -> str:
    """Minimum, median and maximum."""
    values = (min(seconds), statistics.median(seconds), max(seconds))
    return " / ".join(f">{CUT_OFF:.0f}" if value == CUT else f"{value:.2f}" for value in values)


def make_images() -> None:
    """The good image, and two that expose the same ports and are no servers."""
    build.serving(*build.TAGS)
    for name, program in (("crashes", "/bin/busybox sleep 0.1; exit 1"), ("hangs", "/bin/busybox sleep 1000")):
        entry = json.dumps(["/bin/busybox", "sh", "-c", program])
        image = build.variant(name, build.busybox(), "EXPOSE 8500 8501", f"ENTRYPOINT {entry}")
        build.docker("tag", image, f"{IMAGE}:{name}")


def main() -> None:
    rows = ("load", "query", "crash", "hang", "large", "tags", "kill")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--long-pairs", type=int, default=2)
    parser.add_argument("--only", default=",".join(rows))
    arguments = parser.parse_args()
    make_images()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="docker-race-") as name:
        tfx, ours = (Side(side, pathlib.Path(name)) for side in ("tfx", "ours"))
        for side in (tfx, ours):
            side.wait_until_ready()
        print(f"(imports done after {time.monotonic() - began:.0f} s)\n")
        print(
            "| case | TFX 1.16: min / median / max | by hand (floor) | ours | aim | |\n|---|---|---|---|---|---|",
            flush=True,
        )
        race = Race(tfx, ours, made_once().path("examples"), arguments.pairs, arguments.long_pairs)
        try:
            for row in arguments.only.split(","):
                getattr(race, row)()
        finally:
            for side in (tfx, ours):
                side.close()
    print(f"\nall in seconds; the whole race took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
