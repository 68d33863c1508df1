"""What sending sample requests costs: the rate beside a bare gRPC loop, and the memory of many requests beside that of few.

    python -m benchmarks.requests [--rounds N] [--requests 10000] [--many 100000]

Figure 5. Both loops ask the same embedded server with the same concurrency and alternate in one run, each time in a process of its own.
Ours reads gzipped examples, makes requests of them, sends them and looks at every answer; "unseen" is the same
without the look. The bare loop sends one ready-made payload again and again, with gRPC's
futures and a semaphore, and with blocking calls in threads.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

from benchmarks.table import print_table
from benchmarks.validate import start_by_hand, wait_until_available
from component_tests.fakes.saved_models import made_once
from infra_validator.core.deadline import Deadline
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.grpc_channel import open_channel
from infra_validator.model_server_clients.tensorflow_serving import TensorFlowServingClient
from infra_validator.protos import tensorflow_pb2
from infra_validator.sample_requests.examples.example_files import requests_from_examples_dir
from infra_validator.sample_requests.records.tfrecord import write_records
from infra_validator.saved_model.graph import read_graph
from infra_validator.validation.answers.inspection import AnswerInspection
from infra_validator.validation.answers.standards import AnswerStandards

MODEL = "examples"  # one string input of serialized tf.Example
CONCURRENCY = 8
LIMIT = 600.0  # seconds for one run


def ours(endpoint: str, split: str, count: int, *, look: bool = True) -> None:
    """Read, make and send requests, and look at the answers, as a validation does."""
    signatures = read_graph(str(made_once().path(MODEL))).signatures_named(["serving_default"])
    with TensorFlowServingClient(endpoint, "m") as client:
        if look:
            inspection = AnswerInspection(client.ReadAnswer, AnswerStandards(signatures=signatures), "m", 1)
            client.on_answer = inspection.look
        requests = requests_from_examples_dir(split, signatures, "m", count)
        if client.SendRequests(requests, Deadline.after(LIMIT), concurrency=CONCURRENCY) != count:
            sys.exit("not all requests were answered")


def futures(endpoint: str, split: str, count: int) -> None:
    """The bare loop: one payload, gRPC's futures, a semaphore."""
    request = one_request(split)
    free = threading.Semaphore(CONCURRENCY)
    with open_channel(endpoint) as channel:
        call = channel.unary_unary(request.method, None, None)
        for _ in range(count):
            free.acquire()
            call.future(request.payload, timeout=LIMIT).add_done_callback(lambda done: free.release())
        for _ in range(CONCURRENCY):
            free.acquire()


def threads(endpoint: str, split: str, count: int) -> None:
    """The bare loop: one payload, blocking calls in as many threads."""
    request = one_request(split)
    with open_channel(endpoint) as channel:
        call = channel.unary_unary(request.method, None, None)

        def send() -> None:
            for _ in range(count // CONCURRENCY):
                call(request.payload, timeout=LIMIT)

        senders = [threading.Thread(target=send) for _ in range(CONCURRENCY)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()


def one_request(split: str) -> SampleRequest:
    """The first request of a split."""
    signatures = read_graph(str(made_once().path(MODEL))).signatures_named(["serving_default"])
    return next(requests_from_examples_dir(split, signatures, "m", 1))


LOOPS: dict[str, Callable[[str, str, int], None]] = {
    "ours": ours,
    "unseen": functools.partial(ours, look=False),
    "futures": futures,
    "threads": threads,
}


def run(loop: str, endpoint: str, split: str, count: int) -> tuple[float, float]:
    """(requests a second, peak resident MiB) of a loop in a process of its own, after a short warm-up."""
    command = [sys.executable, "-m", "benchmarks.requests", "--loop", loop, endpoint, split, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{loop} failed:\n{done.stderr}")
    told = json.loads(done.stdout)
    return told["rate"], told["peak"]


def run_here(loop: str, endpoint: str, split: str, count: int) -> None:
    LOOPS[loop](endpoint, split, 200)
    began = time.perf_counter()
    LOOPS[loop](endpoint, split, count)
    took = time.perf_counter() - began
    print(json.dumps({"rate": count / took, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def write_split(folder: pathlib.Path, count: int) -> str:
    """A gzipped TFRecord of ``count`` small examples."""
    folder.mkdir()

    def example(number: int) -> bytes:
        made = tensorflow_pb2.Example()
        made.features.feature["x"].float_list.value.append(number)
        return made.SerializeToString()

    with gzip.open(folder / "examples.gz", "wb", compresslevel=1) as file:
        write_records((example(number) for number in range(count)), file)  # type: ignore[arg-type]
    return str(folder)


def measure(arguments: argparse.Namespace, folder: pathlib.Path) -> None:
    split = write_split(folder / "Split-eval", max(arguments.requests, arguments.many))
    server, _ = start_by_hand(made_once().path(MODEL), folder)
    try:
        while not (folder / "ports").exists():
            time.sleep(0.01)
        endpoint = f"127.0.0.1:{json.loads((folder / 'ports').read_text())['grpc']}"
        with open_channel(endpoint) as channel:
            wait_until_available(channel)
        rates: dict[str, list[float]] = {loop: [] for loop in LOOPS}
        for _ in range(arguments.rounds):
            for loop in LOOPS:
                rates[loop].append(run(loop, endpoint, split, arguments.requests)[0])
        best = max(statistics.median(rates["futures"]), statistics.median(rates["threads"]))
        looking = [ours / unseen for ours, unseen in zip(rates["ours"], rates["unseen"], strict=True)]
        share = statistics.median(rates["ours"]) / best
        print_table(
            f"5. {arguments.requests} small requests, {CONCURRENCY} at once, embedded server",
            [
                (
                    "SendRequests, reading gzipped examples",
                    rates["ours"],
                    f"{share:.0%} of the faster bare loop; aim 80 %",
                ),
                (
                    "the same, answers not looked at",
                    rates["unseen"],
                    f"looking costs {1 - statistics.median(looking):.0%} of the rate (pairs); aim at most 20 %",
                ),
                ("bare gRPC loop, futures and a semaphore", rates["futures"], ""),
                ("bare gRPC loop, blocking calls in threads", rates["threads"], ""),
            ],
            unit="requests a second",
        )
        few = run("ours", endpoint, split, 1000)[1]
        many = run("ours", endpoint, split, arguments.many)[1]
        print_table(
            "5. peak resident memory of the sender",
            [("1000 requests", [few], ""), (f"{arguments.many} requests", [many], f"{many - few:+.1f} MiB; aim flat")],
            unit="MiB",
        )
    finally:
        server.kill()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each rate is measured")
    parser.add_argument("--requests", type=int, default=10_000, help="requests of one measurement of the rate")
    parser.add_argument("--many", type=int, default=100_000, help="requests of the measurement of memory")
    parser.add_argument("--loop", nargs=4, metavar=("LOOP", "ENDPOINT", "SPLIT", "COUNT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.loop:
        loop, endpoint, split, count = arguments.loop
        run_here(loop, endpoint, split, int(count))
        return
    with tempfile.TemporaryDirectory() as name:
        measure(arguments, pathlib.Path(name))


if __name__ == "__main__":
    main()
