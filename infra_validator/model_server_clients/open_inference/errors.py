"""The errors of the protocol in one table: what a server answers over gRPC or over REST, and what becomes of it."""

from __future__ import annotations

import dataclasses

import grpc

from infra_validator.core.reason_codes import ReasonCode


@dataclasses.dataclass(frozen=True)
class ErrorRule:
    """One row.

    Attributes:
      code: gRPC's, which stands for the HTTP statuses too.
      statuses: HTTP statuses with the same meaning.
      waits: whether a model that is asked for with this answer is waited for, as not ready or not known yet.
      reason: the reason code of a request that is answered with it.
      blames: who is behind it: the model or the request.
      retried: whether a server that ends meanwhile is looked for first, since the connection may have broken with it.
    """

    code: grpc.StatusCode
    statuses: tuple[int, ...]
    waits: bool
    reason: ReasonCode
    blames: str
    retried: bool = False


_C, _R = grpc.StatusCode, ReasonCode

#: Of codes and statuses that are not in it, UNKNOWN's row holds.
ERRORS = (
    ErrorRule(_C.INVALID_ARGUMENT, (400, 415, 422), True, _R.REQUEST_FAILED, "the request"),
    ErrorRule(_C.UNAUTHENTICATED, (401,), False, _R.REQUEST_FAILED, "the model"),
    ErrorRule(_C.PERMISSION_DENIED, (403,), False, _R.REQUEST_FAILED, "the model"),
    ErrorRule(_C.NOT_FOUND, (404,), True, _R.REQUEST_FAILED, "the model"),
    ErrorRule(_C.UNIMPLEMENTED, (405, 501), False, _R.REQUEST_FAILED, "the model"),
    ErrorRule(_C.DEADLINE_EXCEEDED, (408, 504), True, _R.QUERY_TIMEOUT, "the model"),
    ErrorRule(_C.FAILED_PRECONDITION, (409, 412), True, _R.REQUEST_FAILED, "the model"),
    ErrorRule(_C.RESOURCE_EXHAUSTED, (413, 429), True, _R.REQUEST_FAILED, "the model"),
    ErrorRule(_C.INTERNAL, (500,), False, _R.REQUEST_FAILED, "the model", retried=True),
    ErrorRule(_C.UNAVAILABLE, (502, 503), True, _R.REQUEST_FAILED, "the model", retried=True),
    ErrorRule(_C.UNKNOWN, (), True, _R.REQUEST_FAILED, "the model", retried=True),
)

#: HTTP status -> gRPC's code.
CODE_OF_STATUS = {status: rule.code for rule in ERRORS for status in rule.statuses}

#: The codes with which a server says that it does not know the model, or not yet.
WAITED_FOR = frozenset(rule.code for rule in ERRORS if rule.waits)
