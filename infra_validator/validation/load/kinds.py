"""The kinds of requests that a source gives: each signature and batch size is loaded for itself."""

from __future__ import annotations

import dataclasses
import queue

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError, UsageError
from infra_validator.core.read_beside import Ended, ReadBeside
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestSource, SampleRequest
from infra_validator.model_server_clients.base_client import Job, raise_if_gone, unwatched

_MOST_READ = 10_000  # requests looked at: a kind that shows up later is not loaded
_MOST_OF_A_KIND = 64  # requests kept, which are asked again and again
_MOST_BYTES = 64 << 20  # of all requests kept; each kind keeps one whatever its size
_LOOK_SECONDS = 0.1  # how often the job is looked at while the source is read


@dataclasses.dataclass(frozen=True)
class RequestKind:
    """Requests that are measured together.

    Attributes:
      signature: the signature that they ask.
      batch_size: the rows of each; None where they have none, or it is not known.
      requests: some of them, which are asked in turn, again and again.
      method: the full RPC path.
    """

    signature: str
    batch_size: int | None
    requests: tuple[SampleRequest, ...]
    method: str = ""

    @property
    def label(self) -> str:
        """For messages, e.g. ``serving_default, batch size 4``."""
        rows = "" if self.batch_size is None else f", batch size {self.batch_size}"
        return f"{self.signature or 'no signature'}{rows}"


def kinds_of(source: RequestSource, deadline: Deadline, job: Job = unwatched) -> list[RequestKind]:
    """The kinds of requests that the source gives, in the order in which they come first.

    Classify and Regress of one signature are kinds apart from Predict. A request that is asked over REST in the checks has its gRPC
    form as well, and that is what load is made of.

    Args:
      source: read in a thread of its own, up to 10,000 requests; a source without an end is left there.
      deadline: when reading must have ended.
      job: the server's, looked at meanwhile.

    Raises:
      UsageError: it gives none.
      InfrastructureError: REQUESTS_TOO_SLOW.
      JobGone: the server ended meanwhile.
      Exception: what the source raised.
    """
    events: queue.SimpleQueue[SampleRequest | Ended] = queue.SimpleQueue()
    kept: dict[tuple[str, int | None, str], list[SampleRequest]] = {}
    octets = read = 0
    with ReadBeside(source(), events.put, at_once=_MOST_OF_A_KIND) as reading:
        while read < _MOST_READ:
            event = _next(events, deadline, job)
            if isinstance(event, Ended):
                if event.error is not None:
                    raise event.error
                break
            read += 1
            reading.give_back()
            pool = kept.setdefault((event.signature, event.rows, event.method), [])
            if not pool or (len(pool) < _MOST_OF_A_KIND and octets + len(event.payload) <= _MOST_BYTES):
                pool.append(event)
                octets += len(event.payload)
    if not kept:
        raise UsageError(
            "The source of the sample requests gave none to load the server with.", reason=ReasonCode.BAD_REQUESTS
        )
    return [RequestKind(name, rows, tuple(pool), method) for (name, rows, method), pool in kept.items()]


def _next(events: queue.SimpleQueue[SampleRequest | Ended], deadline: Deadline, job: Job) -> SampleRequest | Ended:
    while True:
        raise_if_gone(job())
        if deadline.expired():
            raise InfrastructureError(ReasonCode.REQUESTS_TOO_SLOW, "Not all were read before the time was up.")
        try:
            return events.get(timeout=min(_LOOK_SECONDS, deadline.remaining() + 0.001))
        except queue.Empty:
            continue
