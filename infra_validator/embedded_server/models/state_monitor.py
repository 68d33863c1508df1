"""Every state that every version was ever in (contract 4): what GetModelStatus answers and what a start waits for."""

from __future__ import annotations

import dataclasses
import enum
import threading
from collections.abc import Iterable

from infra_validator.embedded_server.status import StatusError, not_found


class State(enum.IntEnum):
    """ModelVersionStatus.State, with the numbers of the wire."""

    START = 10  # announced
    LOADING = 20  # being loaded, retries and the pauses between them included
    AVAILABLE = 30  # answers requests
    UNLOADING = 40  # takes no more requests
    END = 50  # gone; with an error if it never came up


@dataclasses.dataclass(frozen=True)
class VersionState:
    """Where a version is.

    Attributes:
      error: why it ended; None unless it ended in an error.
    """

    state: State
    error: StatusError | None = None

    @property
    def settled(self) -> bool:
        """Whether a start has waited long enough for it."""
        return self.state in (State.AVAILABLE, State.END)


class StateMonitor:
    """Remembers the last state of every version for as long as the process lives. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._states: dict[str, dict[int, VersionState]] = {}
        self._closed = False

    def publish(self, name: str, version: int, state: State, error: StatusError | None = None) -> None:
        with self._changed:
            self._states.setdefault(name, {})[version] = VersionState(state, error)
            self._changed.notify_all()

    def versions(self, name: str, version: int | None = None) -> dict[int, VersionState]:
        """The versions of a model, highest first, or the one asked for.

        Raises:
          StatusError: NOT_FOUND: never heard of.
        """
        with self._changed:
            known = dict(self._states.get(name, {}))
        if version is not None and known:
            if version not in known:
                raise not_found(f"Could not find version {version} of model {name}")
            return {version: known[version]}
        if not known:
            suffix = f"version {version} of model {name}" if version is not None else f"any versions of model {name}"
            raise not_found(f"Could not find {suffix}")
        return dict(sorted(known.items(), reverse=True))

    def state(self, name: str, version: int) -> VersionState | None:
        """The state of one version; None if it was never announced."""
        with self._changed:
            return self._states.get(name, {}).get(version)

    def every_version(self) -> dict[str, dict[int, VersionState]]:
        """The versions of all models, those that ended included."""
        with self._changed:
            return {name: dict(versions) for name, versions in self._states.items()}

    def ended(self, names: Iterable[str]) -> list[VersionState]:
        """The ends of earlier lives of these models, for ``wait_until_settled`` to look past."""
        with self._changed:
            states = [state for name in names for state in self._states.get(name, {}).values()]
        return [state for state in states if state.state is State.END]

    def wait_until_settled(
        self, names: Iterable[str], past: Iterable[VersionState] = ()
    ) -> list[tuple[str, int, VersionState]]:
        """Wait, without limit, until of each model a version is available or has ended.

        Args:
          past: states that decide nothing (compared by identity).

        Returns:
          The models all of whose settled versions have ended, with the highest of these. Empty when ``close`` ended the wait.
        """
        waiting, failed = list(names), []
        ignored = {id(state) for state in past}
        with self._changed:
            while waiting and not self._closed:
                for name in list(waiting):
                    states = self._states.get(name, {}).items()
                    settled = {v: s for v, s in states if s.settled and id(s) not in ignored}
                    if settled:
                        waiting.remove(name)
                        if all(state.state is State.END for state in settled.values()):
                            failed.append((name, max(settled), settled[max(settled)]))
                if waiting:
                    self._changed.wait()
        return failed

    def wait_until_ended(self, name: str) -> None:
        """Wait, without limit, until no version of a model is left, or ``close``."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or all(each.state is State.END for each in self._states.get(name, {}).values())
            )

    def close(self) -> None:
        """End every wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def describe_failures(failed: list[tuple[str, int, VersionState]], noun: str) -> str:
    """``<n> servable(s) did not become available: {{{name: <m> version: <v>} due to error: <CODE: text>}, }``"""
    causes = "".join(
        f"{{{{name: {name} version: {version}}} due to error: {state.error or 'OK'}}}, "
        for name, version, state in failed
    )
    return f"{len(failed)} {noun} did not become available: {{{causes}}}"
