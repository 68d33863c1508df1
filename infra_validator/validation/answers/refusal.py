"""Whom a refused request blames: the model is asked rightly, or the request is at fault."""

from __future__ import annotations

from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestOrigin
from infra_validator.model_server_clients.base_client import RequestFailed


def blamed(failure: RequestFailed, origin: RequestOrigin) -> AttemptFailed | InfrastructureError | UsageError:
    """The failure as it is, or BAD_REQUESTS where the request contradicts the declared shape, or GENERATED_REQUEST_REFUSED where its
    values were only made up.

    Args:
      origin: where the request came from.
    """
    if failure.request.contradicts:
        return UsageError(
            f"{failure.request.contradicts} ({failure.told})", reason=ReasonCode.BAD_REQUESTS, quotes=failure.quotes
        )
    if origin is RequestOrigin.GENERATED and failure.refused:
        return InfrastructureError(ReasonCode.GENERATED_REQUEST_REFUSED, failure.told, quotes=failure.quotes)
    return failure
