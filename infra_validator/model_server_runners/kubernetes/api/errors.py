"""What an API server's refusals mean: one error, one table of what is tried again, one translation into ours. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from infra_validator.core.errors import InfrastructureError, InfraValidatorError, shorten
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.shaped import seconds, shaped

#: Answers after which the same call is made again, while its deadline lasts; everything else is final.
RETRIED: dict[int, str] = {
    429: "too many requests: the server says when to come back",
    500: "the server's own trouble, e.g. its store elects a leader",
    502: "a proxy before the server",
    503: "the server starts or stops",
    504: "the server's store is slow",
}


class ApiError(InfraValidatorError):
    """The API server answered with a failure.

    Attributes:
      status: the HTTP status.
      reason: the API's reason, e.g. ``AlreadyExists``; empty if the answer was no Status object.
      message: the server's words.
      call: what was asked, e.g. ``create pods in ml``.
      retry_after: seconds that the server asks to wait; 0 if it does not.
      causes: fields and problems that the server names.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        call: str,
        retry_after: float = 0.0,
        causes: tuple[Mapping[str, Any], ...] = (),
    ) -> None:
        super().__init__(status, reason, message)
        self.status = status
        self.reason = reason
        self.message = shorten(message, 2000)
        self.call = call
        self.retry_after = retry_after
        self.causes = causes

    def __str__(self) -> str:
        reason = f" {self.reason}" if self.reason else ""
        return f"{self.call}: {self.status}{reason}: {self.message}"


class ApiUnreachable(InfraValidatorError):
    """The API server did not answer, or what answered is none.

    Attributes:
      call: what was asked.
      problem: what happened.
    """

    def __init__(self, call: str, problem: str) -> None:
        super().__init__(call, problem)
        self.call = call
        self.problem = shorten(problem, 1000)

    def __str__(self) -> str:
        return f"{self.call}: {self.problem}"


_STATUS = {
    "code": int,
    "reason": str,
    "message": str,
    "details": {"retryAfterSeconds": int, "causes": [{"reason": str, "message": str, "field": str}]},
}


def error_of(status: int, body: bytes, headers: Mapping[str, str], call: str) -> ApiError:
    """The error in an answer that is not a success; ``body`` may be a Status object, HTML of a proxy, or anything."""
    text = body.decode("utf-8", "replace")
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    retry_after = seconds(headers.get("Retry-After") or headers.get("retry-after"))
    if not isinstance(given, dict) or given.get("kind") != "Status":
        return ApiError(status, "", " ".join(text.split())[:300] or "(no words)", call, retry_after)
    told = shaped(given, _STATUS)
    details = told.get("details", {})
    retry_after = retry_after or seconds(details.get("retryAfterSeconds"))
    causes = tuple(details.get("causes", ()))
    code = told.get("code") or status
    return ApiError(code, told.get("reason", ""), told.get("message", ""), call, retry_after, causes)


def with_reason(error: ApiError, path: str) -> ApiError:
    """``error`` of a stream to a pod, with the right that is missing where the API server names none.

    From 1.35 on it asks for ``create`` besides ``get`` and refuses with an empty reason (``pods "p" is forbidden: ``).
    """
    if error.status != 403 or not error.message.rstrip(" .:").endswith("is forbidden"):
        return error
    words = f'{error.message.rstrip(" .:")}: cannot create resource "pods/{path.rpartition("/")[2]}"'
    return ApiError(error.status, error.reason, words, error.call, error.retry_after, error.causes)


def innermost(error: BaseException) -> str:
    """The innermost cause, which is the one that says something."""
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return innermost(inner)
    text = " ".join(str(error).split())
    return text.rpartition(">: ")[2] or type(error).__name__


def meaning_of(error: ApiError | ApiUnreachable, role: str = "") -> InfrastructureError:
    """Our error for one of the API server's.

    Args:
      error: what came.
      role: the YAML of the Role that is needed, shown where a right is missing.
    """
    if isinstance(error, ApiUnreachable):
        return InfrastructureError(ReasonCode.KUBERNETES_UNREACHABLE, f"{error}.")
    words = f"{error}".rstrip(".") + "."
    message = error.message
    if error.status == 401:
        return InfrastructureError(ReasonCode.KUBERNETES_UNAUTHORIZED, words)
    if error.status == 403 and "exceeded quota" in message:
        return InfrastructureError(ReasonCode.QUOTA_EXCEEDED, words)
    if error.status == 403 and "is being terminated" in message:
        return InfrastructureError(ReasonCode.NAMESPACE_NOT_USABLE, words)
    if error.status == 403 and "cannot " in message and "resource" in message:
        step = ReasonCode.KUBERNETES_FORBIDDEN.next_step
        return InfrastructureError(
            ReasonCode.KUBERNETES_FORBIDDEN, words, next_step=f"{step} It is:\n{role}" if role else step
        )
    if error.status == 404 and message.startswith("namespaces "):
        return InfrastructureError(ReasonCode.NAMESPACE_NOT_USABLE, words)
    if error.status in RETRIED:
        return InfrastructureError(ReasonCode.KUBERNETES_UNREACHABLE, words)
    return InfrastructureError(ReasonCode.POD_REFUSED, words)


def meaning_for_stream(
    error: ApiError | ApiUnreachable | InfrastructureError, otherwise: ReasonCode, role: str = ""
) -> InfrastructureError:
    """Our error for a stream to a pod (exec, port-forward) that could not be had.

    Args:
      error: what came.
      otherwise: the reason unless it is one of credentials or rights: what the stream was for did not happen.
      role: as in ``meaning_of``.
    """
    if isinstance(error, InfrastructureError):
        return error
    meaning = meaning_of(error, role)
    if meaning.reason in (ReasonCode.KUBERNETES_UNAUTHORIZED, ReasonCode.KUBERNETES_FORBIDDEN):
        return meaning
    heals = isinstance(error, ApiUnreachable) or error.status in RETRIED
    return InfrastructureError(otherwise, meaning.detail, heals=heals)
