"""The shared interface of all model server clients: HOW to talk to one model server.

The interface is TFX's ``base_client.py`` with two changes: every wait looks at the job and at the model at once, and every call has a
deadline.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType

from infra_validator.core.answer import Answer, Tensor
from infra_validator.core.deadline import Deadline, News, wait_until
from infra_validator.core.errors import AttemptFailed, DeadlineExceeded, raise_if_exhausted
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import Life, ModelStatus, ModelStatusReport, Observation
from infra_validator.model_server_clients.load_connection import LoadConnection
from infra_validator.protos import tensorflow_pb2

#: How a client sees the job that runs its server; ``runner.Observe`` is one.
Job = Callable[[], Observation]

_CALL_SECONDS = 2.0  # the cap of one status call; the wait goes on after it
_FOREIGN_SECONDS = (
    10.0  # how long a server may answer as no model server does; a proxy may, until the server behind it is up
)
_LONGEST_PAUSE = 0.02  # seconds between two status calls: how late, at most, a loaded model is noticed


class JobGone(Exception):
    """The job ended while it was being talked to. The validation turns it into the attempt's failure.

    Attributes:
      seen: the observation that says why.
    """

    def __init__(self, seen: Observation) -> None:
        super().__init__(seen.detail)
        self.seen = seen


class RequestFailed(AttemptFailed):
    """A request that the server answered with an error (REQUEST_FAILED).

    Attributes:
      request: the request.
      told: the request and the server's words.
      refused: whether the server says that the request itself is wrong.
    """

    def __init__(
        self,
        request: SampleRequest,
        told: str,
        *,
        refused: bool,
        fingerprint: str = "",
        quotes: Sequence[str] | None = None,
    ) -> None:
        self.request = request
        self.told = told
        self.refused = refused
        super().__init__(ReasonCode.REQUEST_FAILED, told, fingerprint=fingerprint, quotes=quotes)


class RestRefused(Exception):
    """Over REST the server answered with an error, or not at all; the text says what.

    Attributes:
      answered: whether anything answered.
    """

    def __init__(self, text: str, *, answered: bool = True) -> None:
        super().__init__(text)
        self.answered = answered


def raise_if_gone(seen: Observation) -> None:
    """Raise JobGone if the job is gone."""
    if seen.life is Life.GONE:
        raise JobGone(seen)


def unwatched() -> Observation:
    """The job of a server that somebody else runs: taken to be running."""
    return Observation.running()


class BaseModelServerClient(abc.ABC):
    """Talks to one model server about one model. Used by one thread unless a subclass says otherwise; close it.

    Args:
      endpoint: ``host:port``.
      model_name: the model's name on the server.
      version: the version under test; None means whatever the server has.

    Attributes:
      on_answer: called by SendRequests with every request that was answered and the answer's bytes, in the thread that called it; what
        it raises ends the sending. Set by the validation. A client that does not call it has its answers unseen.
    """

    on_answer: Callable[[SampleRequest, bytes], None] | None = None

    #: The share of the time waited by which a loaded model may be noticed late: not 0 for servers that log every question.
    patience: float = 0.0

    #: Called by SendRequests before ``on_answer`` with the seconds from the sending to the answer, where a client measures them.
    on_latency: Callable[[float], None] | None = None

    def __init__(self, endpoint: str, model_name: str, version: int | None = None) -> None:
        self.endpoint = endpoint
        self.model_name = model_name
        self.version = version

    @property
    def notes(self) -> Sequence[str]:
        """What people should know of the server although it is no failure, one sentence each. They become warnings of the verdict."""
        return ()

    @abc.abstractmethod
    def GetModelStatus(self, deadline: Deadline) -> ModelStatusReport:
        """Ask once for the model's status. A server that does not answer is NOT_READY with ``answered=False``, not an error."""

    @abc.abstractmethod
    def SendRequests(
        self, requests: Iterable[SampleRequest], deadline: Deadline, job: Job = unwatched, concurrency: int = 8
    ) -> int:
        """Send ``requests`` as they come; returns how many were answered.

        Args:
          requests: read one at a time, as places become free.
          deadline: when all must be answered.
          job: tells whether the server still runs; asked while answers are waited for.
          concurrency: how many are under way at most, which is as many as are held in memory.

        Raises:
          AttemptFailed: a request was answered with an error (REQUEST_FAILED), or not in time (QUERY_TIMEOUT).
          JobGone: the server ended meanwhile.
        """

    def ReadAnswer(self, request: SampleRequest, payload: bytes) -> Sequence[Answer] | None:
        """The answers in the response to ``request``; None where the protocol does not tell what an answer holds.

        Called by the validation for every answer.

        Raises:
          UnreadableAnswer: the bytes are no such response.
        """
        return None

    def OpenLoad(self, requests: Sequence[SampleRequest]) -> LoadConnection | None:
        """A connection that asks these requests again and again from many threads; None where the client has none. Close it.

        Called by the validation once for each kind of request that a server is loaded with.

        Raises:
          AttemptFailed, UsageError: the requests cannot be asked over this protocol.
        """
        return None

    def GetSignatures(self, deadline: Deadline) -> Mapping[str, tensorflow_pb2.SignatureDef] | None:
        """The signatures that the server says the model has; None where it does not tell.

        Called by the validation once the model is loaded.
        """
        return None

    #: Whether signatures that differ from the model's mean that another model is served; not where the model's are only described.
    signatures_identify: bool = True

    def AskOverRest(
        self, endpoint: str, request: SampleRequest, answer: Answer, deadline: Deadline
    ) -> Mapping[str, Tensor] | None:
        """What the server's REST API at ``endpoint`` answers to ``request.rest_body``; None where the protocol has none.

        Called by the validation from threads of its own, for requests that have a JSON body.

        Args:
          answer: what was answered over gRPC.

        Raises:
          RestRefused, UnreadableAnswer: it answers with an error, with something else, or not at all.
        """
        return None

    #: Whether the protocol has a REST API that can be asked what is asked over gRPC.
    has_rest: bool = False

    #: Whether the protocol has an unload that belongs to what is validated.
    unloads: bool = False

    def UnloadModel(self, deadline: Deadline, job: Job = unwatched) -> None:
        """Unload the model. Called by the validation when all requests were answered, if ``unloads``.

        Raises:
          AttemptFailed: the server could not.
          JobGone: the server ended meanwhile.
        """

    @abc.abstractmethod
    def Close(self) -> None:
        """Give the connection back. May be called twice."""

    def WaitUntilModelLoaded(self, deadline: Deadline, job: Job = unwatched, news: News | None = None) -> None:
        """Wait until the model is READY, looking at the job and the model at once; the first news ends the wait.

        Called by the validation once the job is Running.

        Args:
          deadline: when to give up.
          job: tells whether the server still runs.
          news: announced when ``job`` may answer otherwise, which ends a pause at once.

        Raises:
          AttemptFailed: the model became UNAVAILABLE (MODEL_UNAVAILABLE); what answers is no model server, again and again
            (SERVER_UNHEALTHY); or the deadline came (LOAD_TIMEOUT).
          JobGone: the server ended.
          OSError: nothing was answered, and this process has no file descriptor left.
        """
        last = ModelStatusReport(ModelStatus.NOT_READY, "", answered=False)
        foreign_until = deadline

        def loaded() -> bool | None:
            nonlocal last, foreign_until
            raise_if_gone(job())
            seen = self.GetModelStatus(deadline.capped(_CALL_SECONDS))
            if seen.status is ModelStatus.UNAVAILABLE:
                raise AttemptFailed(ReasonCode.MODEL_UNAVAILABLE, f"It says: {seen.detail}.")
            if seen.status is ModelStatus.READY:
                raise_if_gone(job())  # the one who answered may be somebody else's server
                return True
            raise_if_gone(job())
            if not seen.answered:
                raise_if_exhausted()
            if seen.foreign and not last.foreign:
                foreign_until = deadline.capped(_FOREIGN_SECONDS)
            # A call that the deadline cut off does not hide what the server said before.
            if seen.answered or not last.answered:
                last = seen
            if last.foreign and foreign_until.expired():
                raise AttemptFailed(
                    ReasonCode.SERVER_UNHEALTHY, f"Its last answer: {last.detail}.", fingerprint="SERVER_UNHEALTHY"
                )
            return None

        try:
            wait_until(loaded, deadline, news=news, longest_pause=_LONGEST_PAUSE, patience=self.patience)
        except DeadlineExceeded as error:
            told = "Its last answer" if last.answered else "The server never answered. Last seen"
            raise AttemptFailed(
                ReasonCode.LOAD_TIMEOUT, f"{told}: {last.detail}.", fingerprint="LOAD_TIMEOUT"
            ) from error

    def __enter__(self) -> BaseModelServerClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.Close()
