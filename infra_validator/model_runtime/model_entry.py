"""One id of a ModelRuntime: its state, who waits for it, and how its refusals are worded."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable

import grpc

from infra_validator.model_runtime.model_source import ModelSource


class State(enum.Enum):
    """The state of an id; each member says which event leads to it."""

    LOADING = "loading"  # the first load of the id came
    LOADED = "loaded"  # the backend answered
    UNLOADING = "unloading"  # an unload, a purge, or the end of a load that was given up
    STUCK = "stuck"  # the backend failed to unload


class Refused(Exception):
    """A call is answered with an error.

    Args:
      code: the gRPC code.
      detail: what happened, to which model, and what to do.
    """

    def __init__(self, code: grpc.StatusCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Entry:
    """An id that is held; everything but ``given_up`` is read and changed under the table's lock.

    Attributes:
      path: as it was asked for; tells two models of one id apart.
      find: makes the ModelSource, in the loading thread.
      state: see State.
      callers: how many wait for its load.
      began: whether the backend was asked to load it.
      given_up: set when it has to go, whatever comes of its load.
      failure: what its callers are told when the load failed or was given up.
      size: bytes, measured; 0 before it is loaded.
      booked: bytes that count against the capacity.
      in_flight: requests under way.
      unload_failure: why it is STUCK.
    """

    def __init__(self, model_id: str, path: str, find: Callable[[], ModelSource]) -> None:
        self.model_id = model_id
        self.path = path
        self.find = find
        self.state = State.LOADING
        self.callers = 0
        self.began = False
        self.given_up = threading.Event()
        self.failure: Refused | None = None
        self.size = 0
        self.booked = 0
        self.in_flight = 0
        self.unload_failure = ""


def named(model_id: str) -> str:
    """The id as messages show it: quoted, and cut when it is long."""
    return (
        f"Model {model_id!r}" if len(model_id) <= 200 else f"Model {model_id[:200]!r}... ({len(model_id)} characters)"
    )
