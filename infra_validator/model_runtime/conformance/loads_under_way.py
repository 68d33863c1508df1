"""Loads that are caught under way."""

from __future__ import annotations

import grpc

from infra_validator.conformance.points import NotJudged
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import DeadlineExceeded
from infra_validator.model_runtime.conformance.run import Subject
from infra_validator.protos import model_runtime_pb2 as pb2

_TRIES = 5  # to catch a load in the middle
_CAUGHT_AFTER_SECONDS = 0.005  # a load that has not ended by then is under way


def catch_loading(subject: Subject, model_id: str) -> grpc.CallFuture[pb2.LoadModelResponse]:
    """A load that is under way.

    Raises:
      NotJudged: loads are too quick to be caught.
    """
    for _ in range(_TRIES):
        loading = subject.start_load(model_id)
        if not ends_within(loading, _CAUGHT_AFTER_SECONDS):
            return loading
        subject.unload(model_id)
    raise NotJudged("its models load too quickly to be caught in the middle; name a larger one")


def ends_within(call: grpc.CallFuture[pb2.LoadModelResponse], seconds: float) -> bool:
    """Whether a call that is under way ends, however it does, within ``seconds``; returns when it has."""
    try:
        wait_until(lambda: call.done() or None, Deadline.after(seconds), longest_pause=0.002)
    except DeadlineExceeded:
        return False
    return True
