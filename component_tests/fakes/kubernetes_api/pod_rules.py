"""What the API server checks in a pod beyond types, what it fills in, and the "restricted" Pod Security Standard.

Sources: the API reference's field descriptions, "Object Names and IDs", "Labels and Selectors", "Pod Security Standards".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DOTTED = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
DNS_SUBDOMAIN = rf"(?=.{{1,253}}$){_DOTTED}"
LABEL_VALUE = r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"
QUALIFIED = rf"({_DOTTED}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?"
QUANTITY = r"[+-]?(\d+|\d+\.\d*|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d+)?"
ENV_NAME = r"[-._a-zA-Z][-._a-zA-Z0-9]*"
PORT_NAME = r"(?=.{1,15}$)(?!.*--)[a-z0-9]([a-z0-9-]*[a-z0-9])?"

_UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS.update({"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40})
_ALLOWED_VOLUMES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)

Json = dict[str, Any]


def number(quantity: str) -> float:
    """A quantity as a number."""
    match = re.fullmatch(r"([+-]?[\d.]+)([A-Za-z]*)", quantity)
    if match is None or match[2] not in _UNITS:
        return float(quantity)
    return float(match[1]) * _UNITS[match[2]]


def problems(pod: Json) -> Iterator[tuple[str, str]]:
    """(field, what is wrong with it) of everything the server would answer 422 for."""
    yield from _metadata(pod.get("metadata") or {})
    spec = pod.get("spec") or {}
    if not spec.get("containers"):
        yield "spec.containers", "Required value"
    volumes = [volume.get("name", "") for volume in spec.get("volumes") or ()]
    for index, volume in enumerate(spec.get("volumes") or ()):
        yield from _volume(volume, f"spec.volumes[{index}]", volumes[:index])
    claims = {claim.get("name") for claim in spec.get("resourceClaims") or ()}
    names: list[str] = []
    for part in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(part) or ()):
            yield from _container(container, f"spec.{part}[{index}]", names, volumes, claims)
            names.append(str(container.get("name")))
    if spec.get("restartPolicy", "Always") not in ("Always", "OnFailure", "Never"):
        yield "spec.restartPolicy", f'Unsupported value: "{spec["restartPolicy"]}"'
    if spec.get("activeDeadlineSeconds", 1) < 1:
        yield (
            "spec.activeDeadlineSeconds",
            f"Invalid value: {spec['activeDeadlineSeconds']}: must be between 1 and 2147483647",
        )
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        yield "spec.terminationGracePeriodSeconds", "Invalid value: must be greater than or equal to 0"
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        if toleration.get("operator", "Equal") not in ("Equal", "Exists"):
            yield f"spec.tolerations[{index}].operator", f'Unsupported value: "{toleration["operator"]}"'
    for index, term in enumerate(_node_terms(spec)):
        for field in term.get("matchFields") or ():
            if field.get("key") != "metadata.name" or len(field.get("values") or ()) != 1:
                yield f"spec.affinity.nodeAffinity...nodeSelectorTerms[{index}].matchFields", "Invalid value"


def _node_terms(spec: Json) -> list[Json]:
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return list((required or {}).get("nodeSelectorTerms") or ())


def _metadata(metadata: Json) -> Iterator[tuple[str, str]]:
    name = metadata.get("name", "")
    if not re.fullmatch(DNS_SUBDOMAIN, name):
        yield (
            "metadata.name",
            f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric...',
        )
    for key, value in (metadata.get("labels") or {}).items():
        if not re.fullmatch(QUALIFIED, key):
            yield "metadata.labels", f'Invalid value: "{key}": name part must consist of alphanumeric characters...'
        if not re.fullmatch(LABEL_VALUE, value):
            yield "metadata.labels", f'Invalid value: "{value}": must be no more than 63 characters / a valid label...'
    for key in metadata.get("annotations") or {}:
        if not re.fullmatch(QUALIFIED, key):
            yield (
                "metadata.annotations",
                f'Invalid value: "{key}": name part must consist of alphanumeric characters...',
            )
    for index, owner in enumerate(metadata.get("ownerReferences") or ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                yield f"metadata.ownerReferences[{index}].{field}", "Invalid value: must not be empty"


def _volume(volume: Json, path: str, before: list[str]) -> Iterator[tuple[str, str]]:
    name = volume.get("name", "")
    if not re.fullmatch(DNS_LABEL, name):
        yield f"{path}.name", f'Invalid value: "{name}": a lowercase RFC 1123 label...'
    if name in before:
        yield f"{path}.name", f'Duplicate value: "{name}"'
    sources = [key for key in volume if key != "name"]
    if len(sources) > 1:
        yield path, "Forbidden: may not specify more than 1 volume type"
    for source, field in (("persistentVolumeClaim", "claimName"), ("hostPath", "path"), ("image", "reference")):
        if source in volume and not volume[source].get(field):
            yield f"{path}.{source}.{field}", "Required value"


def _container(
    container: Json, path: str, before: list[str], volumes: list[str], claims: set[Any]
) -> Iterator[tuple[str, str]]:
    name = container.get("name", "")
    if not re.fullmatch(DNS_LABEL, name):
        yield f"{path}.name", f'Invalid value: "{name}": a lowercase RFC 1123 label...'
    if name in before:
        yield f"{path}.name", f'Duplicate value: "{name}"'
    if not container.get("image"):
        yield f"{path}.image", "Required value"
    if container.get("imagePullPolicy", "Always") not in ("Always", "IfNotPresent", "Never"):
        yield f"{path}.imagePullPolicy", f'Unsupported value: "{container["imagePullPolicy"]}"'
    for index, variable in enumerate(container.get("env") or ()):
        if not re.fullmatch(ENV_NAME, variable.get("name", "")):
            yield f"{path}.env[{index}].name", f'Invalid value: "{variable.get("name", "")}"'
        if variable.get("value") and variable.get("valueFrom"):
            yield f"{path}.env[{index}].valueFrom", "Invalid value: may not be specified when `value` is not empty"
    for index, port in enumerate(container.get("ports") or ()):
        if not 1 <= port.get("containerPort", 0) <= 65535:
            yield f"{path}.ports[{index}].containerPort", "Invalid value: must be between 1 and 65535, inclusive"
        if port.get("name") and not re.fullmatch(PORT_NAME, port["name"]):
            yield f"{path}.ports[{index}].name", f'Invalid value: "{port["name"]}": must be no more than 15 characters'
    yield from _mounts(container, path, volumes)
    yield from _resources(container.get("resources") or {}, f"{path}.resources", claims)


def _mounts(container: Json, path: str, volumes: list[str]) -> Iterator[tuple[str, str]]:
    seen = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        where = f"{path}.volumeMounts[{index}]"
        if mount.get("name") not in volumes:
            yield f"{where}.name", f'Not found: "{mount.get("name")}"'
        if not mount.get("mountPath"):
            yield f"{where}.mountPath", "Required value"
        if mount.get("mountPath") in seen:
            yield f"{where}.mountPath", f'Invalid value: "{mount["mountPath"]}": must be unique'
        seen.add(mount.get("mountPath"))
        inside = mount.get("subPath", "")
        if inside.startswith("/") or ".." in inside.split("/"):
            yield f"{where}.subPath", f'Invalid value: "{inside}": must be a relative path without ".."'


def _resources(resources: Json, path: str, claims: set[Any]) -> Iterator[tuple[str, str]]:
    for part in ("limits", "requests"):
        for name, quantity in (resources.get(part) or {}).items():
            if not re.fullmatch(QUANTITY, quantity):
                yield (
                    f"{path}.{part}[{name}]",
                    f'Invalid value: "{quantity}": quantities must match the regular expression',
                )
    limits = resources.get("limits") or {}
    for name, quantity in (resources.get("requests") or {}).items():
        if name in limits and re.fullmatch(QUANTITY, quantity) and number(quantity) > number(limits[name]):
            yield (
                f"{path}.requests",
                f'Invalid value: "{quantity}": must be less than or equal to {name} limit of {limits[name]}',
            )
    for index, claim in enumerate(resources.get("claims") or ()):
        if claim.get("name") not in claims:
            yield f"{path}.claims[{index}]", f'Not found: "{claim.get("name")}"'


def fill_in(pod: Json) -> None:
    """The defaults that the server writes into a pod."""
    spec = pod["spec"]
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("securityContext", {})
    for volume in spec.get("volumes") or ():
        if len(volume) == 1:
            volume["emptyDir"] = {}  # a volume without a source is an empty directory
    for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        latest = ":" not in container["image"].rpartition("/")[2] or container["image"].endswith(":latest")
        container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
        container.setdefault("resources", {})


def violations_of_restricted(pod: Json) -> list[str]:
    """What the "restricted" Pod Security Standard has against a pod, in the admission plugin's words."""
    spec = pod["spec"]
    whole = spec.get("securityContext") or {}
    found = []
    for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        own = container.get("securityContext") or {}
        name = container["name"]
        if own.get("allowPrivilegeEscalation") is not False:
            found.append(f'allowPrivilegeEscalation != false (container "{name}")')
        dropped = (own.get("capabilities") or {}).get("drop") or ()
        added = set((own.get("capabilities") or {}).get("add") or ()) - {"NET_BIND_SERVICE"}
        if "ALL" not in dropped or added:
            found.append(f'unrestricted capabilities (container "{name}")')
        if own.get("runAsNonRoot", whole.get("runAsNonRoot")) is not True:
            found.append(f'runAsNonRoot != true (pod or container "{name}")')
        if own.get("runAsUser", whole.get("runAsUser")) == 0:
            found.append(f'runAsUser=0 (container "{name}")')
        profile = own.get("seccompProfile", whole.get("seccompProfile")) or {}
        if profile.get("type") not in ("RuntimeDefault", "Localhost"):
            found.append(f'seccompProfile (pod or container "{name}")')
        if own.get("privileged"):
            found.append(f'privileged (container "{name}")')
    for volume in spec.get("volumes") or ():
        kind = next((key for key in volume if key != "name"), "emptyDir")
        if kind not in _ALLOWED_VOLUMES:
            found.append(f'restricted volume types (volume "{volume["name"]}" uses restricted volume type "{kind}")')
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            found.append(f"host namespaces ({field}=true)")
    return found
