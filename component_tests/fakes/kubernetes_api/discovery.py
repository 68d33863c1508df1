"""What a client asks before anything else: which groups, versions and resources there are. As far as kubectl needs it."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

#: resource -> (kind, singular, short names, verbs); subresources stand beside their resource.
_CORE: dict[str, tuple[str, str, list[str], list[str]]] = {
    "pods": ("Pod", "pod", ["po"], ["create", "delete", "get", "list", "patch", "watch"]),
    "pods/log": ("Pod", "", [], ["get"]),
    "pods/exec": ("PodExecOptions", "", [], ["create", "get"]),
    "pods/portforward": ("PodPortForwardOptions", "", [], ["create", "get"]),
    "events": ("Event", "event", ["ev"], ["get", "list", "watch"]),
    "persistentvolumeclaims": ("PersistentVolumeClaim", "persistentvolumeclaim", ["pvc"], ["get"]),
}


def discovered(path: str) -> Json | None:
    """The answer to a question about the API itself; None if it is none."""
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": []}
    if path == "/api/v1":
        resources = [
            {
                "name": name,
                "singularName": singular,
                "namespaced": True,
                "kind": kind,
                "verbs": verbs,
                **({"shortNames": short} if short else {}),
            }
            for name, (kind, singular, short, verbs) in _CORE.items()
        ]
        return {"kind": "APIResourceList", "groupVersion": "v1", "resources": resources}
    if path == "/openapi/v3":
        return {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}}}
    if path == "/openapi/v3/api/v1":  # that creating a pod takes fieldValidation is what kubectl looks for
        validation = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
        kind = [{"group": "", "kind": "Pod", "version": "v1"}]
        operation = {
            "parameters": [validation],
            "x-kubernetes-group-version-kind": kind[0],
            "x-kubernetes-action": "post",
        }
        patch = {**operation, "x-kubernetes-action": "patch"}
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "fake"},
            "paths": {
                "/api/v1/namespaces/{namespace}/pods": {"post": operation},
                "/api/v1/namespaces/{namespace}/pods/{name}": {"patch": patch},
            },
            "components": {"schemas": {}},
        }
    return None
