"""Loops that send requests, written without the load generator: what it is held against."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import grpc

METHOD = "/tensorflow.serving.PredictionService/Predict"
PAYLOAD = b"x" * 200
_TIMEOUT = 30.0


def closed(endpoint: str, callers: int, requests: int) -> list[float]:
    """A bare gRPC loop: threads that call and take the time. Latencies in seconds."""
    latencies: list[float] = []
    with grpc.insecure_channel(endpoint) as channel:
        call = channel.unary_unary(METHOD, None, None)
        call(PAYLOAD, timeout=_TIMEOUT)  # the connection

        def loop(count: int) -> None:
            for _ in range(count):
                began = time.monotonic()
                call(PAYLOAD, timeout=_TIMEOUT)
                latencies.append(time.monotonic() - began)

        _all_of([threading.Thread(target=loop, args=(requests // callers,)) for _ in range(callers)])
    return latencies


def open_by_threads(endpoint: str, rate: float, requests: int) -> list[float]:
    """An open loop as ghz has it: at each moment of the schedule somebody new sends, here a thread of its own."""
    latencies: list[float] = []
    with grpc.insecure_channel(endpoint) as channel:
        call = channel.unary_unary(METHOD, None, None)
        call(PAYLOAD, timeout=_TIMEOUT)

        def ask(due: float) -> None:
            call(PAYLOAD, timeout=_TIMEOUT)
            latencies.append(time.monotonic() - due)

        threads = []
        for due in _schedule(rate, requests):
            _sleep_until(due)
            threads.append(threading.Thread(target=ask, args=(due,)))
            threads[-1].start()
        for thread in threads:
            thread.join()
    return latencies


def open_by_callers(endpoint: str, rate: float, requests: int, callers: int = 64) -> list[float]:
    """An open loop of callers that take the next moment in turn and block: what the load generator does, bare."""
    latencies: list[float] = []
    with grpc.insecure_channel(endpoint) as channel:
        call = channel.unary_unary(METHOD, None, None)
        call(PAYLOAD, timeout=_TIMEOUT)
        schedule = iter(_schedule(rate, requests))
        turn = threading.Lock()

        def loop() -> None:
            while True:
                with turn:
                    due = next(schedule, None)
                    if due is None:
                        return
                    _sleep_until(due)
                call(PAYLOAD, timeout=_TIMEOUT)
                latencies.append(time.monotonic() - due)

        _all_of([threading.Thread(target=loop) for _ in range(callers)])
    return latencies


def open_by_futures(endpoint: str, rate: float, requests: int) -> list[float]:
    """An open loop of grpc's futures; their callbacks, in grpc's thread, take the time."""
    latencies: list[float] = []
    answered = threading.Semaphore(0)
    with grpc.insecure_channel(endpoint) as channel:
        call = channel.unary_unary(METHOD, None, None)
        call(PAYLOAD, timeout=_TIMEOUT)

        def noting(due: float) -> Callable[[object], None]:
            def note(_: object) -> None:
                latencies.append(time.monotonic() - due)
                answered.release()

            return note

        for due in _schedule(rate, requests):
            _sleep_until(due)
            call.future(PAYLOAD, timeout=_TIMEOUT).add_done_callback(noting(due))
        for _ in range(requests):
            answered.acquire()
    return latencies


def open_by_asyncio(endpoint: str, rate: float, requests: int) -> list[float]:
    """An open loop of grpc.aio, in one thread."""
    latencies: list[float] = []

    async def main() -> None:
        async with grpc.aio.insecure_channel(endpoint) as channel:
            call = channel.unary_unary(METHOD, None, None)
            await call(PAYLOAD, timeout=_TIMEOUT)

            async def ask(due: float) -> None:
                await call(PAYLOAD, timeout=_TIMEOUT)
                latencies.append(time.monotonic() - due)

            tasks = []
            for due in _schedule(rate, requests):
                early = due - time.monotonic()
                if early > 0:
                    await asyncio.sleep(early)
                tasks.append(asyncio.create_task(ask(due)))
            await asyncio.gather(*tasks)

    asyncio.run(main())
    return latencies


def _schedule(rate: float, requests: int) -> list[float]:
    began = time.monotonic() + 0.01
    return [began + number / rate for number in range(requests)]


def _sleep_until(moment: float) -> None:
    early = moment - time.monotonic()
    if early > 0:
        time.sleep(early)


def _all_of(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
