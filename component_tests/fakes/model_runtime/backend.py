"""A backend that keeps a ledger of what is loaded, and whose loads last as long as the test wants."""

from __future__ import annotations

import threading

import grpc

from infra_validator.model_runtime.backends.base_backend import (
    TENSORFLOW_SERVING_METHODS,
    Backend,
    BackendError,
    BackendSettings,
)
from infra_validator.model_runtime.model_source import ModelSource


class LedgerBackend(Backend):
    """Holds ids in ``held``; fails loudly when it is called against its contract.

    Attributes:
      held: the ids that are loaded.
      mistakes: calls that broke the order that backend.py promises.
      loads: how many loads have begun.
      hold: when set, loads wait until :meth:`let_go` names their id.
      failing: ids whose load fails.
      stuck: ids whose unload fails.
      asking: released when an inference request has come.
      may_answer: when cleared, inference requests wait for it.
      lost: ids that ``holds`` denies until they are unloaded.
    """

    name = "ledger"
    version = "1"
    method_infos = TENSORFLOW_SERVING_METHODS
    serves = True

    def __init__(self, *, hold: bool = False) -> None:
        self.held: set[str] = set()
        self.mistakes: list[str] = []
        self.loads = 0
        self.most_at_once = 0
        self.purges = 0
        self.hold = hold
        self.failing: set[str] = set()
        self.stuck: set[str] = set()
        self.lost: set[str] = set()
        self.not_ready = ""
        self.size = 1000
        self.asking = threading.Semaphore(0)
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._busy: set[str] = set()
        self._loading: set[str] = set()
        self._let_go: set[str] = set()
        self._changed = threading.Condition()

    def loading(self) -> frozenset[str]:
        """The ids whose load has begun and not ended."""
        with self._changed:
            return frozenset(self._loading)

    def wait_until_loading(self, model_id: str, seconds: float = 10) -> None:
        """Return when the load of the id has begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: model_id in self._loading, seconds), f"{model_id!r} never began"

    def let_go(self, model_id: str) -> None:
        """Let the load of the id end."""
        with self._changed:
            self._let_go.add(model_id)
            self._changed.notify_all()

    def why_not_ready(self, seconds: float) -> str:
        return self.not_ready

    def load(self, model_id: str, source: ModelSource, abandoned: threading.Event) -> int:
        with self._changed:
            self._enter(model_id)
            self._note(model_id not in self.held, f"load of {model_id!r}, which is loaded")
            self.loads += 1
            self._loading.add(model_id)
            self.most_at_once = max(self.most_at_once, len(self._loading))
            self._changed.notify_all()
            if self.hold:
                self._changed.wait_for(lambda: not self.hold or model_id in self._let_go, 60)
                self._let_go.discard(model_id)
            self._loading.discard(model_id)
            self._busy.discard(model_id)
            if model_id in self.failing:
                raise BackendError(grpc.StatusCode.INTERNAL, "the graph is broken")
            self.held.add(model_id)
            return self.size

    def unload(self, model_id: str) -> None:
        with self._changed:
            self._enter(model_id)
            self._busy.discard(model_id)
            self._note(model_id in self.held, f"unload of {model_id!r}, which is not loaded")
            if model_id in self.stuck:
                raise BackendError(grpc.StatusCode.UNAVAILABLE, "the server does not answer")
            self.held.discard(model_id)
            self.lost.discard(model_id)

    def holds(self, model_id: str) -> bool:
        return model_id not in self.lost

    def purge(self) -> None:
        with self._changed:
            self._note(not self.held, f"purge while {sorted(self.held)} are loaded")
            self.purges += 1

    def infer(self, model_id: str, method: str, request: bytes, seconds: float | None) -> bytes:
        with self._changed:
            self._note(model_id in self.held, f"inference of {model_id!r}, which is not loaded")
        self.asking.release()
        self.may_answer.wait(60)
        with self._changed:
            self._note(model_id in self.held, f"{model_id!r} was unloaded while it was asked")
        return request

    def _enter(self, model_id: str) -> None:
        self._note(model_id not in self._busy, f"two calls for {model_id!r} at once")
        self._busy.add(model_id)

    def _note(self, fine: bool, mistake: str) -> None:
        if not fine:
            self.mistakes.append(mistake)


def from_settings(settings: BackendSettings) -> LedgerBackend:
    """As an entry point of the group ``infra_validator.model_runtime_backends`` names it."""
    assert settings.model_root
    return LedgerBackend()
