"""Whether requests are answered over REST as over gRPC: what production asks over REST may be refused there, or lack a dimension."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable, Mapping

from infra_validator.core.answer import Answer, Tensor, UnreadableAnswer
from infra_validator.core.deadline import Deadline, News, wait_until
from infra_validator.core.errors import AttemptFailed, DeadlineExceeded, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.base_client import RestRefused
from infra_validator.validation.answers.check import Check, asked, failed
from infra_validator.validation.answers.compared.comparison import Comparison
from infra_validator.validation.answers.expected_outputs import ExpectedOutput

_AT_ONCE = 4  # requests under way over REST

#: Asks a request over REST and reads the answer, given the one over gRPC; raises RestRefused.
AskRest = Callable[[SampleRequest, Answer], Mapping[str, Tensor]]


class AsOverRest(Check):
    """Requests that have a JSON body are asked over REST, too, a few at once; close it.

    Args:
      ask: asks one, in a thread.
      look: called while waiting, at least every 0.1 s; raises where the job or somebody's signal ends it all.
      deadline: when all must be answered.
      comparison: the tolerances.
      required: whether a server that does not answer over REST at all fails; else it is taken to have no REST port.
    """

    name = "answer_over_rest"

    def __init__(
        self, ask: AskRest, look: Callable[[], object], deadline: Deadline, comparison: Comparison, required: bool
    ) -> None:
        super().__init__()
        self._required = required
        self._has_port = True
        self._ask = ask
        self._look_at_job = look
        self._deadline = deadline
        self._comparison = comparison
        self._pool = concurrent.futures.ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="rest")
        self._under_way: collections.deque[
            tuple[SampleRequest, Answer, concurrent.futures.Future[Mapping[str, Tensor]]]
        ] = collections.deque()

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        if request.rest_body is None or not self._has_port:
            return
        self._under_way.append((request, answer, self._pool.submit(self._ask, request, answer)))
        self._settle(down_to=_AT_ONCE - 1)

    def finish(self) -> None:
        self._settle(down_to=0)

    def close(self) -> None:
        """Ask nothing more. What is under way ends with the server at the latest."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _settle(self, down_to: int) -> None:
        while len(self._under_way) > down_to:
            request, answer, future = self._under_way.popleft()
            news = News()
            future.add_done_callback(lambda _, news=news: news.announce())  # type: ignore[misc]

            def done(future: concurrent.futures.Future[Mapping[str, Tensor]] = future) -> bool | None:
                self._look_at_job()
                return True if future.done() else None

            try:
                wait_until(done, self._deadline, news=news)
            except DeadlineExceeded as error:
                raise AttemptFailed(
                    ReasonCode.QUERY_TIMEOUT,
                    f"{asked(request)}, was not answered over REST.",
                    fingerprint="QUERY_TIMEOUT",
                ) from error
            try:
                outputs = future.result()
            except (RestRefused, UnreadableAnswer) as error:
                self._look_at_job()
                if isinstance(error, RestRefused) and not error.answered:
                    if not (self.applied or self._required):
                        self._has_port = False
                        continue
                    raise InfrastructureError(
                        ReasonCode.CONNECTION_LOST if self.applied else ReasonCode.SERVER_NOT_REACHABLE,
                        f"{asked(request)}, was answered over gRPC; over REST {error}.",
                        next_step="Have the server open its REST port, or take rest out of request_spec.protocols.",
                    ) from error
                problem = f"over gRPC it was answered, over REST not: {error}"
                raise failed(ReasonCode.ANSWER_DIFFERS, request, problem) from error
            self.applied += 1
            self._comparison.check(request, answer.outputs, outputs, "the answer over gRPC")
