"""Whether load is measured rightly: ours beside a bare gRPC loop and a plain open loop, on a server with injected delays.

    python -m benchmarks.load [--rounds N] [--requests N] [--only FIGURE]

The server is a process of its own. What is compared alternates in short rounds on the same server, in a new order each round, and the
latencies of all rounds are put together, so that other work of the machine meets all alike. Beside the difference of ours to the bare
loop stands the noise: the difference of the bare loop's own odd rounds to its even ones.

A percentile says something only where latencies lie: of two delays that come equally often the median is a toss, and so is p99 under
exactly 1 % of stalls. So of the bimodal delays a third is long, and 1.25 % of the requests stall.

Other work of the machine shows in every figure. `chrt -f 10 python -m benchmarks.load` (as root) lets the benchmark and its server run
first.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import random
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks import load_loops
from benchmarks.table import print_columns
from component_tests.fakes.servers.slow_server import Behaviour, slow_server
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.base_client import unwatched
from infra_validator.model_server_clients.tensorflow_serving import TensorFlowServingClient
from infra_validator.specs import LoadSpec
from infra_validator.validation.load.block import Block
from infra_validator.validation.load.histogram import Latencies, merged
from infra_validator.validation.load.kinds import RequestKind
from infra_validator.validation.load.load_generator import LoadGenerator

PERCENTS = (50.0, 90.0, 99.0)
KIND = RequestKind("s", 1, (SampleRequest(load_loops.METHOD, "s", load_loops.PAYLOAD, "the request", 1),))
DELAYS = {
    "constant 5 ms": Behaviour(delays_ms=(5.0,)),
    "bimodal 2 and 50 ms": Behaviour(delays_ms=(2.0, 2.0, 50.0)),
    "2 ms, 1.25 % stalls of 200 ms": Behaviour(delays_ms=(2.0,), stall_every=80, stall_ms=200.0),
}
STALLS = Behaviour(delays_ms=(2.0,), stall_every=100, stall_ms=200.0, one_at_a_time=True)

#: Asks a server so many requests.
Loop = Callable[[str, int], Latencies]


@contextlib.contextmanager
def generator(endpoint: str, spec: LoadSpec) -> Iterator[LoadGenerator]:
    client = TensorFlowServingClient(endpoint, "m")
    try:
        with LoadGenerator(client, unwatched, KIND, spec, Deadline.after(3600)) as load:
            load.block(requests=5)  # the connection
            yield load
    finally:
        client.Close()


def ours(spec: LoadSpec) -> Loop:
    def loop(endpoint: str, requests: int) -> Latencies:
        with generator(endpoint, spec) as load:
            return load.block(requests=requests).latencies

    return loop


def plain(loop: Callable[[str, int], list[float]]) -> Loop:
    def counted(endpoint: str, requests: int) -> Latencies:
        latencies = Latencies()
        for seconds in loop(endpoint, requests):
            latencies.add(seconds)
        return latencies

    return counted


def in_turns(behaviour: Behaviour, loops: Sequence[Loop], rounds: int, requests: int) -> list[list[Latencies]]:
    """For each loop what it measured in each round."""
    measured: list[list[Latencies]] = [[] for _ in loops]
    order = list(range(len(loops)))
    with slow_server(behaviour) as server:
        for number in range(rounds):
            random.Random(number).shuffle(order)
            for place in order:
                measured[place].append(loops[place](server.endpoint, requests))
    return measured


def apart(one: Latencies, other: Latencies, percent: float) -> str:
    return f"{one.percentile(percent) / other.percentile(percent) - 1:+.1%}"


def beside(mode: str, loops: dict[str, Loop], rounds: int, requests: int) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, behaviour in DELAYS.items():
        measured = in_turns(behaviour, list(loops.values()), rounds, requests)
        first, reference = merged(measured[0]), merged(measured[1])
        odd, even = merged(measured[1][::2]), merged(measured[1][1::2])
        for label, parts in zip(loops, measured, strict=True):
            whole = merged(parts)
            rows.append((name, mode, label, *(f"{whole.percentile(p):.2f}" for p in PERCENTS), str(whole.total)))
        rows.append((name, mode, "ours to it", *(apart(first, reference, p) for p in PERCENTS), ""))
        rows.append((name, mode, "its own noise", *(apart(odd, even, p) for p in PERCENTS), ""))
    return rows


def accuracy(rounds: int, requests: int) -> None:
    heads = ("server", "loop", "by", "p50 ms", "p90 ms", "p99 ms", "requests")
    closed = {
        "ours": ours(LoadSpec(concurrency=4)),
        "bare gRPC loop": plain(lambda endpoint, count: load_loops.closed(endpoint, 4, count)),
    }
    print_columns(heads, beside("closed, 4 callers", closed, rounds, requests))
    opened = {
        "ours": ours(LoadSpec(rate_rps=100.0)),
        "plain open loop": plain(lambda endpoint, count: load_loops.open_by_futures(endpoint, 100.0, count)),
    }
    print_columns(heads, beside("open, 100 a second", opened, rounds, requests))


def omission(rounds: int, requests: int) -> None:
    """A server that serves one at a time and stalls: what a closed loop says, and what those who come on a schedule meet."""
    loops = {
        "closed, 1 caller (wrong)": ours(LoadSpec()),
        "open, 100 a second": ours(LoadSpec(rate_rps=100.0)),
        "plain open loop, 100 a second": plain(
            lambda endpoint, count: load_loops.open_by_threads(endpoint, 100.0, count)
        ),
    }
    measured = in_turns(STALLS, list(loops.values()), rounds, requests)
    rows: list[tuple[str, ...]] = []
    for label, parts in zip(loops, measured, strict=True):
        whole = merged(parts)
        rows.append((label, *(f"{whole.percentile(p):.2f}" for p in (50.0, 90.0, 95.0, 99.0)), str(whole.total)))
    print_columns(
        ("one at a time, 2 ms, 1.25 % stalls of 200 ms", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "requests"), rows
    )


def share(seconds: float) -> None:
    """What the validator's process takes while it sends."""
    rows: list[tuple[str, ...]] = []
    for rate in (100.0, 1000.0, 3000.0):
        with (
            slow_server(Behaviour(delays_ms=(1.0,))) as server,
            generator(server.endpoint, LoadSpec(rate_rps=rate)) as load,
        ):
            try:
                rows.append((f"{rate:g}", *told(load.block(seconds=seconds))))
            except InfrastructureError as error:
                rows.append((f"{rate:g}", str(error.detail), *[""] * 6))
    heads = (
        "requests a second",
        "answered a second",
        "processor share",
        "per request",
        "late p50",
        "late p99",
        "p50 ms",
        "p99 ms",
    )
    print_columns(heads, rows)


def told(block: Block) -> tuple[str, ...]:
    client = block.client
    each = client.processor_seconds / max(1, block.requests) * 1e6
    return (
        f"{block.rate:.0f}",
        f"{client.processor_share:.0%}",
        f"{each:.0f} us",
        f"{client.delay_p50_ms:.2f} ms",
        f"{client.delay_p99_ms:.2f} ms",
        f"{block.latencies.percentile(50.0):.2f}",
        f"{block.latencies.percentile(99.0):.2f}",
    )


@dataclasses.dataclass
class Costed:
    """A loop, with the processor time that it took."""

    loop: Loop
    processor_seconds: float = 0.0

    def __call__(self, endpoint: str, requests: int) -> Latencies:
        began = time.process_time()
        try:
            return self.loop(endpoint, requests)
        finally:
            self.processor_seconds += time.process_time() - began


def senders(rounds: int, requests: int) -> None:
    """Ways of sending in Python, on a server of constant 5 ms, 500 requests a second."""
    rate = 500.0
    loops = {
        "ours": Costed(ours(LoadSpec(rate_rps=rate))),
        "callers that block, bare": Costed(plain(lambda e, n: load_loops.open_by_callers(e, rate, n))),
        "futures with callbacks": Costed(plain(lambda e, n: load_loops.open_by_futures(e, rate, n))),
        "grpc.aio in one thread": Costed(plain(lambda e, n: load_loops.open_by_asyncio(e, rate, n))),
        "a thread each": Costed(plain(lambda e, n: load_loops.open_by_threads(e, rate, n))),
    }
    measured = in_turns(Behaviour(delays_ms=(5.0,)), list(loops.values()), rounds, requests)
    rows: list[tuple[str, ...]] = []
    for (label, loop), parts in zip(loops.items(), measured, strict=True):
        whole = merged(parts)
        each = loop.processor_seconds / whole.total * 1e6
        rows.append((label, *(f"{whole.percentile(p):.2f}" for p in PERCENTS), f"{each:.0f} us"))
    print_columns(("500 a second, 5 ms", "p50 ms", "p90 ms", "p99 ms", "processor per request"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--requests", type=int, default=400, help="of each loop in each round")
    parser.add_argument("--only", choices=["accuracy", "omission", "share", "senders"])
    flags = parser.parse_args()
    figures: dict[str, Callable[[], None]] = {
        "accuracy": lambda: accuracy(flags.rounds, flags.requests),
        "omission": lambda: omission(flags.rounds, flags.requests),
        "share": lambda: share(10.0),
        "senders": lambda: senders(flags.rounds, flags.requests),
    }
    for name, figure in figures.items():
        if flags.only in (None, name):
            figure()


if __name__ == "__main__":
    main()
