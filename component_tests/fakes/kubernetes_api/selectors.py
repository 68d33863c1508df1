"""Field and label selectors, as far as lists and watches support them."""

from __future__ import annotations

from typing import Any

from component_tests.fakes.kubernetes_api.cluster import Refused

#: The fields by which a resource can be selected; every other one is refused, as by the real server.
SUPPORTED = {
    "pods": (
        "metadata.name",
        "metadata.namespace",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "events": (
        "metadata.name",
        "metadata.namespace",
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "persistentvolumeclaims": ("metadata.name", "metadata.namespace"),
}


class Selector:
    """A field selector and a label selector together.

    Raises:
      Refused: a field that the resource cannot be selected by.
    """

    def __init__(self, resource: str, fields: str, labels: str) -> None:
        self._fields = [one.replace("==", "=").partition("=") for one in fields.split(",") if one]
        self._labels = [one for one in labels.split(",") if one]
        for key, _, _ in self._fields:
            name = key.rstrip("!")
            if name not in SUPPORTED[resource]:
                raise Refused(400, "BadRequest", f"field label not supported: {name}")

    def matches(self, thing: dict[str, Any]) -> bool:
        labels = thing["metadata"].get("labels") or {}
        return all(self._field(thing, *one) for one in self._fields) and all(
            _label(labels, one) for one in self._labels
        )

    @staticmethod
    def _field(thing: dict[str, Any], key: str, _: str, wanted: str) -> bool:
        value: Any = thing
        for part in key.rstrip("!").split("."):
            value = (value or {}).get(part) if isinstance(value, dict) else None
        return (str(value or "") == wanted) != key.endswith("!")


def _label(labels: dict[str, str], requirement: str) -> bool:
    if "!=" in requirement:
        key, _, value = requirement.partition("!=")
        return labels.get(key) != value
    if "=" in requirement:
        key, _, value = requirement.replace("==", "=").partition("=")
        return labels.get(key) == value
    return requirement[1:] not in labels if requirement.startswith("!") else requirement in labels
