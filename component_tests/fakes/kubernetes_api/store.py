"""The objects of the fake cluster, their versions, and who watches them."""

from __future__ import annotations

import copy
import dataclasses
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Change:
    """One change of one object."""

    version: int
    kind: str  # the resource: pods, events ...
    type: str  # ADDED, MODIFIED, DELETED
    object: Json


class Store:
    """Objects by (resource, namespace, name), with one counter of versions for all. Thread-safe."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.version = 1000
        self.oldest = 0  # changes up to this version are forgotten: a watch from there is 410 Gone
        self._objects: dict[tuple[str, str, str], Json] = {}
        self._changes: list[Change] = []

    def get(self, resource: str, namespace: str, name: str) -> Json | None:
        with self.changed:
            found = self._objects.get((resource, namespace, name))
            return copy.deepcopy(found) if found is not None else None

    def all(self, resource: str, namespace: str = "") -> list[Json]:
        with self.changed:
            return [
                copy.deepcopy(thing)
                for (kind, where, _), thing in sorted(self._objects.items())
                if kind == resource and namespace in ("", where)
            ]

    def create(self, resource: str, thing: Json) -> Json:
        """Add an object. Raises KeyError if its name is taken."""
        metadata = thing["metadata"]
        key = (resource, metadata.get("namespace", ""), metadata["name"])
        with self.changed:
            if key in self._objects:
                raise KeyError(metadata["name"])
            metadata["uid"] = str(uuid.uuid4())
            self._objects[key] = thing
            return self._note(resource, "ADDED", thing)

    def update(self, resource: str, namespace: str, name: str, change: Callable[[Json], None]) -> Json | None:
        """Change an object in place; None if it is gone."""
        with self.changed:
            thing = self._objects.get((resource, namespace, name))
            if thing is None:
                return None
            change(thing)
            return self._note(resource, "MODIFIED", thing)

    def delete(self, resource: str, namespace: str, name: str, uid: str = "") -> Json | None:
        with self.changed:
            key = (resource, namespace, name)
            thing = self._objects.get(key)
            if thing is None or (uid and thing["metadata"]["uid"] != uid):
                return None
            del self._objects[key]
            return self._note(resource, "DELETED", thing)

    def forget_changes(self) -> None:
        """Watches from any version until now are 410 Gone from here on."""
        with self.changed:
            self.oldest = self.version
            self._changes.clear()

    def since(self, resource: str, version: int) -> tuple[list[Change], int]:
        """The changes of a resource after ``version``, and the version up to which these are all."""
        with self.changed:
            changes = [change for change in self._changes if change.kind == resource and change.version > version]
            return changes, self.version

    def wait(self, version: int, seconds: float) -> None:
        """Return when there is a change after ``version``, or after ``seconds``."""
        with self.changed:
            self.changed.wait_for(lambda: self.version > version, seconds)

    def _note(self, resource: str, type_: str, thing: Json) -> Json:
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        snapshot = copy.deepcopy(thing)
        self._changes.append(Change(self.version, resource, type_, snapshot))
        self.changed.notify_all()
        return copy.deepcopy(snapshot)

    def __iter__(self) -> Iterator[Json]:
        with self.changed:
            return iter([copy.deepcopy(thing) for thing in self._objects.values()])
