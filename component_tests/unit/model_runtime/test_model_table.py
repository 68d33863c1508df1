"""Loads, cancellations, unloads, purges and inference in random order: never a leaked model, never a missing one.

``benchmarks/model_runtime.py`` runs the same machine for 100,000 steps.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures

import grpc
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from component_tests.fakes.model_runtime.backend import LedgerBackend
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.model_runtime.model_entry import Refused, State
from infra_validator.model_runtime.model_source import ModelSource
from infra_validator.model_runtime.model_table import Caller, ModelTable

IDS = st.sampled_from(["a", "b", "c"])
CAPACITY = 10**9


LATER = grpc.StatusCode.DEADLINE_EXCEEDED


def _code(call: Callable[[], None]) -> grpc.StatusCode | None:
    """The code with which a call is refused; None when it is not."""
    try:
        call()
    except Refused as error:
        return error.code
    return None


class _Load:
    def __init__(self, model_id: str, caller: Caller, result: futures.Future[int]) -> None:
        self.model_id = model_id
        self.caller = caller
        self.result = result
        self.void = False  # an unload or a purge came after it


class ModelTableMachine(RuleBasedStateMachine):
    """The oracle is the order of calls: the last unload voids what came before, a load that answered OK after it holds."""

    steps = 0  # over all runs

    def __init__(self) -> None:
        super().__init__()
        self.backend = LedgerBackend(hold=True)
        self.table = ModelTable(self.backend, CAPACITY, max_loading_concurrency=2)
        self.threads = futures.ThreadPoolExecutor(64)
        self.loads: list[_Load] = []
        self.present: set[str] = set()

    def teardown(self) -> None:
        self.settle()
        self.table.close(Deadline.after(10))
        self.threads.shutdown()
        assert self.backend.held == set()
        assert self.backend.mistakes == []

    @precondition(lambda self: len(self.loads) < 50)
    @rule(model_id=IDS)
    def load(self, model_id: str) -> None:
        caller = self.table.caller()
        source = ModelSource("/models/m")
        result = self.threads.submit(self.table.load, model_id, "/models/m", lambda: source, caller, Deadline.after(60))
        wait_until(lambda: caller.asked or None, Deadline.after(10))
        self.loads.append(_Load(model_id, caller, result))

    @precondition(lambda self: self.loads)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.loads)).caller.leave()

    @rule(model_id=IDS, fails=st.booleans())
    def end_of_load(self, model_id: str, fails: bool) -> None:
        if fails:
            self.backend.failing.add(model_id)
        else:
            self.backend.failing.discard(model_id)
        if model_id in self.backend.loading():
            self.backend.let_go(model_id)

    @rule(model_id=IDS)
    def unload(self, model_id: str) -> None:
        """Without waiting for its end: what it has to undo is undone later."""
        self._void({model_id})
        assert _code(lambda: self.table.unload(model_id, Deadline.after(0))) in (None, LATER)

    @rule()
    def purge(self) -> None:
        self._void({"a", "b", "c"})
        assert _code(lambda: self.table.purge(Deadline.after(0))) in (None, LATER)

    @rule(model_id=IDS)
    def infer(self, model_id: str) -> None:
        held = False

        def ask() -> None:
            nonlocal held
            with self.table.using(model_id):
                held = model_id in self.backend.held

        code = _code(ask)
        assert held if code is None else code is grpc.StatusCode.NOT_FOUND and model_id not in self.present

    @rule()
    def settle(self) -> None:
        """Let everything end, and compare."""
        with self.backend._changed:
            self.backend.hold = False
            self.backend._changed.notify_all()
        for load in self.loads:
            if load.result.exception(30) is None and not load.void:
                self.present.add(load.model_id)
        wait_until(lambda: set(self.table.states().values()) <= {State.LOADED} or None, Deadline.after(10))
        assert set(self.table.states()) == self.present
        assert self.backend.held == self.present
        self.loads = []
        self.backend.hold = True

    @invariant()
    def the_backend_was_called_in_order(self) -> None:
        ModelTableMachine.steps += 1
        assert self.backend.mistakes == []

    def _void(self, ids: set[str]) -> None:
        self.present -= ids
        for load in self.loads:
            if load.model_id in ids:
                load.void = True


TestModelTable = ModelTableMachine.TestCase
TestModelTable.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
