"""Whom a refused request blames."""

from __future__ import annotations

import dataclasses

import pytest

from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestOrigin, SampleRequest
from infra_validator.model_server_clients.base_client import RequestFailed
from infra_validator.validation.answers.refusal import blamed

REQUEST = SampleRequest("/s/Predict", "serving_default", b"", "record 1 of f")
CONTRADICTING = dataclasses.replace(REQUEST, contradicts="input 'x' is declared [-1, 2] and given as [3].")
FILE, GENERATED = RequestOrigin.FILE, RequestOrigin.GENERATED


@pytest.mark.parametrize(
    ("request_", "refused", "origin", "reason"),
    [
        (REQUEST, True, FILE, ReasonCode.REQUEST_FAILED),
        (REQUEST, False, GENERATED, ReasonCode.REQUEST_FAILED),
        (REQUEST, True, GENERATED, ReasonCode.GENERATED_REQUEST_REFUSED),
        (CONTRADICTING, True, FILE, ReasonCode.BAD_REQUESTS),
        (CONTRADICTING, False, FILE, ReasonCode.BAD_REQUESTS),
        (CONTRADICTING, True, GENERATED, ReasonCode.BAD_REQUESTS),
    ],
)
def test_whom_a_refused_request_blames(
    request_: SampleRequest, refused: bool, origin: RequestOrigin, reason: ReasonCode
) -> None:
    found = blamed(RequestFailed(request_, "record 1 of f: INVALID_ARGUMENT: no", refused=refused), origin)
    assert found.reason is reason
    assert "INVALID_ARGUMENT: no" in found.detail
    assert request_.contradicts in found.detail
