"""Load on a real gRPC server in a process of its own, whose delays are injected: what is counted, and what ends it."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import pytest

from component_tests.fakes.servers.slow_server import Behaviour, SlowServer, slow_server
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import Observation
from infra_validator.model_server_clients.base_client import Job, JobGone, unwatched
from infra_validator.model_server_clients.tensorflow_serving import TensorFlowServingClient
from infra_validator.report.measurements import LoadRun
from infra_validator.specs import LoadSpec
from infra_validator.specs.reader import read
from infra_validator.validation.load.histogram import decode
from infra_validator.validation.load.kinds import RequestKind
from infra_validator.validation.load.load_generator import LoadGenerator, LoadProgress

REQUESTS = tuple(
    SampleRequest("/tensorflow.serving.PredictionService/Predict", "serving_default", b"x" * n, f"request {n}", rows=1)
    for n in (1, 2, 3)
)
KIND = RequestKind("serving_default", 1, REQUESTS)


FEW_THREADS = """
import resource, sys, threading
from component_tests.component.load.test_load_generator import KIND
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError
from infra_validator.model_server_clients.base_client import unwatched
from infra_validator.model_server_clients.tensorflow_serving import TensorFlowServingClient
from infra_validator.specs import LoadSpec
from infra_validator.validation.load.load_generator import LoadGenerator

client = TensorFlowServingClient(sys.argv[1], "m")
with LoadGenerator(client, unwatched, KIND, LoadSpec(concurrency=5), Deadline.after(60)) as load:
    load.block(requests=20)
with LoadGenerator(client, unwatched, KIND, LoadSpec(concurrency=3000), Deadline.after(60)) as load:
    now = int(next(line for line in open("/proc/self/statm")).split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 30), now + (1 << 30)))
    try:
        load.block(requests=1)
    except InfrastructureError as error:
        print(error)
print("callers left:", sum(thread.name.startswith("load ") for thread in threading.enumerate()))
"""


def job_of(server: SlowServer) -> Job:
    def look() -> Observation:
        if server.gone():
            return Observation.gone(ReasonCode.SERVER_EXITED, "exit code 9")
        return Observation.running()

    return look


def generator(server: SlowServer, job: Job | None = None, **given: Any) -> LoadGenerator:
    client = TensorFlowServingClient(server.endpoint, "m")
    spec = read(LoadSpec, given, "validation_spec.load")
    return LoadGenerator(client, job or job_of(server), KIND, spec, Deadline.after(120))


def run(server: SlowServer, **given: Any) -> LoadRun:
    with generator(server, **given) as load:
        return load.run()


def ms(run: LoadRun, name: str) -> float:
    return next(one.ms for one in run.percentiles if one.name == name)


def test_so_many_requests_by_so_many_callers_and_each_delay_is_in_it() -> None:
    with slow_server(Behaviour(delays_ms=(10.0,))) as server:
        told = run(server, requests=400, workers=4, warm_up_seconds=0)
    assert (told.requests, told.errors, told.lost, told.mode, told.concurrency) == (400, 0, 0, "closed", 4)
    assert ms(told, "p50") >= 10
    assert 400 / told.seconds == pytest.approx(told.throughput_rps)
    assert told.seconds >= 400 / 4 * 0.010  # four callers, each waits for its answers
    assert sum(window.requests for window in told.windows) == 400


def test_two_kinds_of_delays_are_two_kinds_of_latency() -> None:
    with slow_server(Behaviour(delays_ms=(2.0, 50.0))) as server:
        told = run(server, requests=200, warm_up_seconds=0)
    counts = decode(told.histogram).counts
    assert sum(count for microseconds, count in counts.items() if microseconds >= 49_900) >= 100
    assert ms(told, "p90") >= 50


def test_on_a_schedule_all_that_is_due_is_sent_and_counted() -> None:
    with slow_server(Behaviour(delays_ms=(50.0,))) as server:  # beside which what a busy machine adds is little
        told = run(server, rps=200, requests=300, warm_up_seconds=0)
    assert (told.requests + told.errors, told.errors, told.mode, told.rate_rps) == (300, 0, "open", 200)
    assert told.concurrency is None
    assert told.seconds >= 299 / 200  # the last one was due then, however quick the server is


def test_a_stall_is_seen_by_all_that_were_due_during_it() -> None:
    """One request in 50 holds the server for 800 ms, and it serves one at a time: on a schedule of 50 a second about 40 requests are
    due meanwhile and wait; a caller that waits for its answer sends none meanwhile, and sees one slow request in 50."""
    stalls = Behaviour(stall_every=50, stall_ms=800, one_at_a_time=True)
    with slow_server(stalls) as server:
        open_loop = run(server, rps=50, requests=150, warm_up_seconds=0)
    with slow_server(stalls) as server:
        closed = run(server, requests=150, warm_up_seconds=0)
    assert ms(open_loop, "p90") >= 600  # of 50 requests, 10 wait for 600 ms and more
    assert ms(closed, "p90") < ms(open_loop, "p90")
    assert ms(closed, "max") >= 800


def test_with_fewer_callers_than_are_due_nothing_is_dropped_and_the_wait_counts() -> None:
    """Two may be under way, each takes 50 ms: 40 a second of the 100 that are due. The last of 100 is sent 1.5 s late or later."""
    with slow_server(Behaviour(delays_ms=(50.0,))) as server:
        told = run(server, rps=100, workers=2, requests=100, warm_up_seconds=0)
    assert (told.requests, told.errors) == (100, 0)
    assert ms(told, "max") >= 1400
    assert told.seconds >= 50 * 0.050


def test_what_is_not_sent_in_time_is_an_error_that_says_so() -> None:
    with slow_server(Behaviour(delays_ms=(50.0,))) as server:
        told = run(server, rps=100, workers=1, requests=100, timeout=0.5, warm_up_seconds=0)
    assert told.requests + told.errors == 100
    assert told.errors >= 50  # 20 a second are answered, and none that is 0.5 s late
    assert "not answered in time" in told.error or "1 requests were under way" in told.error


def test_errors_of_the_server_are_counted_apart_from_answers() -> None:
    with slow_server(Behaviour(error_every=10)) as server:
        told = run(server, requests=200, warm_up_seconds=0)
    assert (told.requests, told.errors, told.lost) == (180, 20, 0)
    assert told.error_rate == pytest.approx(0.1)
    assert "INTERNAL: injected error at request 10" in told.error
    assert told.error.startswith("request ")


def test_an_empty_answer_is_an_error() -> None:
    with slow_server(Behaviour(empty_every=20)) as server:
        told = run(server, requests=100, warm_up_seconds=0)
    assert (told.requests, told.errors) == (95, 5)
    assert "the answer is empty" in told.error


def test_a_server_that_dies_ends_it_with_the_jobs_end() -> None:
    with slow_server(Behaviour(dies_at=50)) as server, generator(server, requests=1000, workers=4) as load:
        with pytest.raises(JobGone) as caught:
            load.block(requests=1000)
    assert caught.value.seen.reason is ReasonCode.SERVER_EXITED


def test_a_jobs_end_is_seen_while_all_callers_wait() -> None:
    """The server hangs and holds its connections; the job's end comes from elsewhere. The request's timeout is an hour."""
    looks = itertools.count()

    def job() -> Observation:
        return Observation.running() if next(looks) < 20 else Observation.gone(ReasonCode.JOB_ABORTED, "evicted")

    with slow_server(Behaviour(hangs_at=5)) as server, generator(server, job, workers=3, timeout=3600) as load:
        with pytest.raises(JobGone, match="evicted"):
            load.block(requests=100)


def test_a_server_that_closed_its_port_while_its_job_lives() -> None:
    with slow_server(Behaviour(dies_at=50)) as server, generator(server, unwatched, requests=100, workers=2) as load:
        with pytest.raises(AttemptFailed) as caught:
            load.block(requests=100)
    assert caught.value.reason is ReasonCode.SERVER_UNHEALTHY
    assert "Connection refused" in caught.value.detail


def test_a_server_that_hangs_costs_the_timeout_of_each_request() -> None:
    with slow_server(Behaviour(hangs_at=11)) as server:
        told = run(server, requests=14, timeout=0.2, warm_up_seconds=0)
    assert (told.requests, told.errors) == (10, 4)
    assert "not answered in time" in told.error


def test_the_bound_ends_a_server_that_hangs_and_what_was_under_way_is_an_error() -> None:
    with slow_server(Behaviour(hangs_at=11)) as server:
        told = run(server, workers=4, timeout=3600, warm_up_seconds=0, at_most_seconds=1)
    assert (told.requests, told.errors) == (10, 4)
    assert told.error == "not answered when the time of the measurement was up"
    assert not told.steady
    assert told.why_not_steady.startswith("The bound of 1 s came first.")


def test_what_was_due_and_not_sent_at_the_bound_is_an_error() -> None:
    with slow_server(Behaviour(hangs_at=1)) as server:
        told = run(server, rps=100, workers=5, timeout=3600, requests=50, warm_up_seconds=0, at_most_seconds=1)
    assert (told.requests, told.errors) == (0, 50)
    assert told.percentiles == ()


def test_until_three_windows_agree_or_the_bound_comes() -> None:
    with slow_server(Behaviour(delays_ms=(20.0,))) as server:
        told = run(server, at_most_seconds=8)
    counted = [window for window in told.windows if not window.warm_up]
    assert len(counted) >= 3
    assert sum(window.requests for window in counted) == told.requests
    assert told.steady == (told.why_not_steady == "")


def test_it_goes_on_until_as_many_were_answered_as_a_percentile_needs() -> None:
    with slow_server(Behaviour(delays_ms=(20.0,))) as server, generator(server, workers=2, at_most_seconds=60) as load:
        told = load.run(at_least_requests=400)
    assert told.requests >= 400 or not told.steady


def test_a_server_that_never_becomes_steady_is_told() -> None:
    """Delays double from request to request, so no two windows agree."""
    rising = tuple(1.0 * 1.02**n for n in range(300))
    with slow_server(Behaviour(delays_ms=rising)) as server:
        told = run(server, at_most_seconds=4)
    assert not told.steady
    assert "The bound of 4 s came first." in told.why_not_steady


def test_a_server_that_answers_nothing_rightly_is_not_asked_to_the_bound() -> None:
    with slow_server(Behaviour(error_every=1)) as server:
        told = run(server, at_most_seconds=3600)
    assert told.requests == 0
    assert told.errors > 0
    assert told.why_not_steady == "In one of the last 3 windows no request was answered rightly."


def test_callers_that_cannot_be_started_are_told_and_those_that_were_leave() -> None:
    """A process of its own, which may have as many threads as it has now and a few more."""
    with slow_server(Behaviour()) as server:
        done = subprocess.run(
            [sys.executable, "-c", FEW_THREADS, server.endpoint],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert "LOAD_NOT_REACHED" in done.stdout, done.stderr
    assert "callers could be started" in done.stdout
    assert done.stdout.strip().endswith("callers left: 0")


def test_blocks_of_two_servers_in_turn_add_up() -> None:
    with slow_server(Behaviour(delays_ms=(5.0,))) as one, slow_server(Behaviour(delays_ms=(10.0,))) as other:
        with generator(one, workers=2) as first, generator(other, workers=2) as second:
            blocks = [(first.block(requests=50), second.block(requests=50)) for _ in range(3)]
    assert [(a.requests, b.requests) for a, b in blocks] == [(50, 50)] * 3
    assert all(block.latencies.percentile(1.0) >= 10 for _, block in blocks)


def test_progress_is_told_with_the_kind_and_what_was_answered() -> None:
    told: list[LoadProgress] = []
    with slow_server(Behaviour(delays_ms=(5.0,))) as server:
        client = TensorFlowServingClient(server.endpoint, "m")
        spec = read(LoadSpec, {"requests": 200, "warm_up_seconds": 0.3}, "load")
        with LoadGenerator(client, job_of(server), KIND, spec, Deadline.after(60), told.append) as load:
            load.run()
    assert told[0].warm_up
    assert told[0].kind is KIND
    assert not told[-1].warm_up
    assert 0 < told[-1].requests <= 200


def test_what_the_client_took_is_told() -> None:
    with slow_server(Behaviour(delays_ms=(50.0,))) as server:
        told = run(server, rps=100, requests=100, warm_up_seconds=0)
    assert told.client.processor_seconds > 0
    assert told.client.processor_share > 0
    assert 0 <= told.client.delay_p50_ms <= told.client.delay_p99_ms


def test_a_client_that_cannot_send_load_says_so() -> None:
    class Other(TensorFlowServingClient):
        def OpenLoad(self, requests: object) -> None:  # type: ignore[override]
            return None

    with pytest.raises(InfrastructureError) as caught:
        LoadGenerator(Other("127.0.0.1:1", "m"), unwatched, KIND, LoadSpec(), Deadline.after(1))
    assert caught.value.reason is ReasonCode.LIMIT_NOT_MEASURED
