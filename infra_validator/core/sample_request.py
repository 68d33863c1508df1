"""One request to send to a model server, in a form that any client can carry; and where requests come from."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable


@dataclasses.dataclass(frozen=True)
class SampleRequest:
    """A request as bytes plus a method.

    Attributes:
      method: the full RPC path, e.g. ``/tensorflow.serving.PredictionService/Predict``.
      signature: the signature asked, for messages to people.
      payload: the serialized request message.
      label: where it came from, e.g. ``record 3 of examples-00000.gz``; never its content.
      rows: the size of its batch dimension; None where it has none or it is not known.
      output_filter: the outputs asked for; empty: all of the signature.
      contradicts: where the request contradicts the shape that the signature declares: a sentence that names the input, the declared
        and the given shape; empty where it does not. Such a request is sent all the same.
      rest_body: the JSON body, where the request was written for the REST API; None otherwise.
      after_all_before: whether it is asked only when all before it were answered, so that of two failures the first is reported.
    """

    method: str
    signature: str
    payload: bytes = dataclasses.field(repr=False)
    label: str
    rows: int | None = None
    output_filter: tuple[str, ...] = ()
    contradicts: str = ""
    rest_body: bytes | None = dataclasses.field(default=None, repr=False)
    after_all_before: bool = False


class RequestOrigin(enum.Enum):
    """Where sample requests come from."""

    NONE = "none"
    FILE = "file"  # what the caller names: a file, messages, a function
    EXAMPLES = "examples"  # an Examples artifact
    OFFERED = "offered"  # another package's source
    GENERATED = "generated"  # made up from the signature


@dataclasses.dataclass(frozen=True)
class RequestSource:
    """Makes the sample requests anew for every attempt; calling it starts reading.

    Attributes:
      make: what makes them, streamed.
      origin: where they come from.
      signatures: the signatures that will be asked; empty where only the requests themselves tell.
    """

    make: Callable[[], Iterable[SampleRequest]]
    origin: RequestOrigin = RequestOrigin.FILE
    signatures: tuple[str, ...] = ()

    def __call__(self) -> Iterable[SampleRequest]:
        return self.make()
