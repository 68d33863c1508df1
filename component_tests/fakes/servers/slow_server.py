"""A gRPC server in a process of its own whose delays are injected: fixed, bimodal, stalls; or it fails, dies, hangs.

    python -m component_tests.fakes.servers.slow_server '{"delays_ms": [2, 50]}'

It prints its port. Every method is answered with the request's bytes; requests are counted, and the count decides what is done, so the
delays of a run are known beforehand.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures

import grpc

_WORKERS = 300  # more than the load has callers


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """What the server does.

    Attributes:
      delays_ms: of the requests in turn, again and again.
      stall_every, stall_ms: each request of this number is delayed by so much instead; 0: none is.
      one_at_a_time: whether requests wait for those before them.
      error_every: each request of this number is answered with INTERNAL; 0: none is.
      empty_every: each request of this number is answered with nothing; 0: none is.
      dies_at, hangs_at: the number of the request (from 1) at which the process ends, or from which on nothing is answered; 0: never.
    """

    delays_ms: tuple[float, ...] = (0.0,)
    stall_every: int = 0
    stall_ms: float = 0.0
    one_at_a_time: bool = False
    error_every: int = 0
    empty_every: int = 0
    dies_at: int = 0
    hangs_at: int = 0

    def delay_of(self, number: int) -> float:
        """Seconds by which the request of this number (from 1) is delayed."""
        if self.stall_every and number % self.stall_every == 0:
            return self.stall_ms / 1000
        return self.delays_ms[(number - 1) % len(self.delays_ms)] / 1000


@dataclasses.dataclass(frozen=True)
class SlowServer:
    """A running one.

    Attributes:
      endpoint: ``host:port``.
      process: the process.
    """

    endpoint: str
    process: subprocess.Popen[str]

    def gone(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The process is stopped (SIGSTOP) meanwhile."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def slow_server(behaviour: Behaviour) -> Iterator[SlowServer]:
    """Start one; it is killed in the end."""
    command = [sys.executable, "-m", __name__, json.dumps(dataclasses.asdict(behaviour))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield SlowServer(f"127.0.0.1:{int(process.stdout.readline())}", process)
        finally:
            process.kill()


class _Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic for type checkers only
    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._numbers = itertools.count(1)
        self._turn = threading.Lock()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        with self._turn if self._behaviour.one_at_a_time else contextlib.nullcontext():
            return self._do(next(self._numbers), request, context)

    def _do(self, number: int, request: bytes, context: grpc.ServicerContext) -> bytes:
        does = self._behaviour
        if does.dies_at and number >= does.dies_at:
            os._exit(9)
        if does.hangs_at and number >= does.hangs_at:
            threading.Event().wait(3600)
        delay = does.delay_of(number)
        if delay:
            time.sleep(delay)
        if does.error_every and number % does.error_every == 0:
            context.abort(grpc.StatusCode.INTERNAL, f"injected error at request {number}")
        return b"" if does.empty_every and number % does.empty_every == 0 else request


def main() -> None:
    given = json.loads(sys.argv[1])
    behaviour = Behaviour(**{**given, "delays_ms": tuple(given.get("delays_ms", (0.0,)))})
    server = grpc.server(futures.ThreadPoolExecutor(_WORKERS))
    server.add_generic_rpc_handlers((_Handler(behaviour),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
