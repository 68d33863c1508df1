"""How the points of the contract are written down: a decorated function each, in the order in which they are tested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import DeadlineExceeded
from infra_validator.model_runtime.conformance.run import NotJudged, Point, Subject

_TRIES = 5  # to catch a load in the middle

Test = Callable[[Subject], None]


class Points(list[Point]):
    """A list of points that fills itself: ``@points.must(name, consequence)`` over a test whose docstring is the title."""

    def must(self, name: str, consequence: str) -> Callable[[Test], Test]:
        """A point that has to hold."""
        return self._point(name, consequence, must=True)

    def should(self, name: str, consequence: str) -> Callable[[Test], Test]:
        """A point without which model-mesh can live."""
        return self._point(name, consequence, must=False)

    def _point(self, name: str, consequence: str, *, must: bool) -> Callable[[Test], Test]:
        def add(test: Test) -> Test:
            title = " ".join((test.__doc__ or "").split())
            self.append(Point(name, title, consequence, must, test))
            return test

        return add


def catch_loading(subject: Subject, model_id: str) -> Any:
    """A load that is under way.

    Raises:
      NotJudged: loads are too quick to be caught.
    """
    for _ in range(_TRIES):
        loading = subject.start_load(model_id)
        try:
            wait_until(lambda loading=loading: loading.done() or None, Deadline.after(0.005), longest_pause=0.002)  # type: ignore[misc]
        except DeadlineExceeded:
            return loading
        subject.unload(model_id)
    raise NotJudged("its models load too quickly to be caught in the middle; name a larger one")
