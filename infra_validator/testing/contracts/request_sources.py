"""What every source of sample requests must do."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from infra_validator.core.sample_request import SampleRequest

_MOST = 1000  # requests that are looked at; a source may have no end


class RequestSourceContract:
    """What a validation relies on, of a source of requests: built in, a caller's, or another package's ``MakeRequests``."""

    def make_requests(self) -> Callable[[], Iterable[SampleRequest | Mapping[str, Any]]]:
        """A new source, as a function that makes its requests anew. It has at least two."""
        raise NotImplementedError

    def test_there_are_requests(self) -> None:
        first = next(iter(self.make_requests()()))
        assert isinstance(first, (SampleRequest, Mapping))

    def test_they_are_made_anew_and_alike_for_each_attempt(self) -> None:
        make = self.make_requests()
        first, second = make(), make()
        assert iter(first) is not iter(second), "the same iterator twice: what one attempt takes is gone for the next"
        told = [list(itertools.islice(requests, _MOST)) for requests in (first, second)]
        assert len(told[0]) >= 2
        assert told[0] == told[1]

    def test_an_attempt_that_ends_early_takes_nothing_from_the_next(self) -> None:
        make = self.make_requests()
        iterator = iter(make())
        first = next(iterator)
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
        assert next(iter(make())) == first

    def test_they_are_read_in_another_thread(self) -> None:
        make = self.make_requests()
        requests = iter(make())
        read: list[object] = []
        thread = threading.Thread(target=lambda: read.append(next(requests)), daemon=True)
        thread.start()
        thread.join(30)
        assert read == [next(iter(make()))]

    def test_each_can_be_told_from_the_others_by_its_label_and_names_what_it_asks(self) -> None:
        requests = [one for one in itertools.islice(self.make_requests()(), _MOST) if isinstance(one, SampleRequest)]
        assert all(request.label and request.method.startswith("/") and request.signature for request in requests)
        assert len({(request.label, request.signature) for request in requests}) == len(requests)

    def test_no_label_holds_what_is_sent(self) -> None:
        for request in itertools.islice(self.make_requests()(), _MOST):
            if isinstance(request, SampleRequest) and len(request.payload) > 8:
                assert request.payload.decode("utf-8", "replace") not in request.label
