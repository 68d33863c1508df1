"""A pod template merged over our pod by the rules of Kubernetes' strategic merge patch. Pure.

Source: the Kubernetes documentation, "Update API Objects in Place Using kubectl patch", and the patchMergeKey of each list in the
API reference.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

#: Lists that are merged item by item, with the field that tells items apart; every other list is replaced.
MERGE_KEYS: dict[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}


def merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``patch`` merged over it; neither is changed.

    A null removes a field; ``$patch: replace`` in an object takes the patch as it is, ``$patch: delete`` removes a list's item.
    """
    if patch.get("$patch") == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    merged = copy.deepcopy(dict(base))
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            present = merged.get(key)
            merged[key] = merge(present if isinstance(present, Mapping) else {}, value)
        elif isinstance(value, (list, tuple)) and key in MERGE_KEYS:
            merged[key] = _merge_list(merged.get(key) or (), value, MERGE_KEYS[key])
        else:
            merged[key] = copy.deepcopy(list(value) if isinstance(value, tuple) else value)
    return merged


def _merge_list(base: Sequence[Any], patch: Sequence[Any], merge_key: str) -> list[Any]:
    merged = [copy.deepcopy(item) for item in base]
    if any(item.get("$patch") == "replace" for item in patch):
        merged = []
        patch = [item for item in patch if item.get("$patch") != "replace"]
    for item in patch:
        place = next((at for at, present in enumerate(merged) if present.get(merge_key) == item.get(merge_key)), None)
        if item.get("$patch") == "delete":
            if place is not None:
                del merged[place]
        elif place is None:
            merged.append(merge({}, item))
        else:
            merged[place] = merge(merged[place], item)
    return merged
