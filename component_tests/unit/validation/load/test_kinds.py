"""Which kinds of requests a source gives, within bounds of number, size and time."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator

import pytest

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestSource, SampleRequest
from infra_validator.core.states import Observation
from infra_validator.model_server_clients.base_client import JobGone
from infra_validator.validation.load.kinds import RequestKind, kinds_of

PREDICT = "/tensorflow.serving.PredictionService/Predict"
CLASSIFY = "/tensorflow.serving.PredictionService/Classify"


def request(signature: str = "s", rows: int | None = 1, method: str = PREDICT, payload: bytes = b"x") -> SampleRequest:
    return SampleRequest(method, signature, payload, "a request", rows=rows, rest_body=b"{}")


def kinds(requests: Iterable[SampleRequest]) -> list[RequestKind]:
    return kinds_of(RequestSource(lambda: requests), Deadline.after(60))


def test_each_signature_batch_size_and_method_is_a_kind_in_the_order_of_the_source() -> None:
    told = kinds([request("b", 2), request("a", 1), request("b", 2), request("b", None), request("b", 2, CLASSIFY)])
    assert [(kind.signature, kind.batch_size, len(kind.requests)) for kind in told] == [
        ("b", 2, 2),
        ("a", 1, 1),
        ("b", None, 1),
        ("b", 2, 1),
    ]
    assert told[3].method == CLASSIFY


def test_labels_for_people() -> None:
    assert [kind.label for kind in kinds([request("a", 4), request("a", None), request("", 1)])] == [
        "a, batch size 4",
        "a",
        "no signature, batch size 1",
    ]


def test_of_each_kind_64_are_kept() -> None:
    first, second = kinds([*[request("a")] * 1000, *[request("b")] * 10])
    assert (len(first.requests), len(second.requests)) == (64, 10)


def test_large_requests_are_bounded_together_and_each_kind_keeps_one() -> None:
    large = bytes(20 << 20)
    first, second = kinds([*[request("a", payload=large)] * 10, *[request("b", payload=large)] * 2])
    assert (len(first.requests), len(second.requests)) == (3, 1)


def test_a_source_without_an_end_is_left() -> None:
    (kind,) = kinds(request() for _ in itertools.count())
    assert len(kind.requests) == 64


def test_a_source_that_gives_none() -> None:
    with pytest.raises(UsageError) as caught:
        kinds([])
    assert caught.value.reason is ReasonCode.BAD_REQUESTS


def test_what_the_source_raises_is_raised() -> None:
    def broken() -> Iterator[SampleRequest]:
        yield request()
        raise LookupError("the disk")

    with pytest.raises(LookupError, match="the disk"):
        kinds(broken())


def hanging() -> Iterator[SampleRequest]:
    yield request()
    threading.Event().wait(60)


def test_a_source_that_hangs_costs_no_more_than_the_deadline() -> None:
    with pytest.raises(InfrastructureError) as caught:
        kinds_of(RequestSource(hanging), Deadline.after(0.05))
    assert caught.value.reason is ReasonCode.REQUESTS_TOO_SLOW


def test_the_jobs_end_ends_the_reading() -> None:
    looks = itertools.count()

    def job() -> Observation:
        return Observation.running() if next(looks) < 3 else Observation.gone(ReasonCode.SERVER_EXITED, "exit code 3")

    with pytest.raises(JobGone):
        kinds_of(RequestSource(hanging), Deadline.after(60), job)
