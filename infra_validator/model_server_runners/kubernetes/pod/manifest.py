"""The pod of a model server as a plain JSON object, made from a launch plan and a spec. Pure: needs no client and no cluster.

What it sends passes the "restricted" Pod Security Standard unless the spec says otherwise; the server is started with its command
and arguments, not through a shell.
"""

from __future__ import annotations

import dataclasses
import math
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from infra_validator.core.errors import InfrastructureError, SpecError
from infra_validator.core.launch_plan import LaunchPlan
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.cleanup.labels import own_process
from infra_validator.model_server_runners.kubernetes.causes import SERVER_CONTAINER
from infra_validator.model_server_runners.kubernetes.pod.liveness import add_liveness
from infra_validator.model_server_runners.kubernetes.pod.model_source import MODEL_VOLUME, Delivery, escape
from infra_validator.model_server_runners.kubernetes.pod.security import (
    CONTAINER_SECURITY,
    pod_security,
    server_security,
)
from infra_validator.model_server_runners.kubernetes.pod.template import merge
from infra_validator.specs import KubernetesConfig
from infra_validator.specs.kubernetes.config import EnvVar, Resources
from infra_validator.specs.serving_spec import MODEL_VARIABLES

#: Our labels. The deadline is in UTC seconds: the moment after which nobody can be waiting for the pod any more.
LABEL_NAME = "app.kubernetes.io/name"
LABEL_OWNER = "infra-validator.owner"
LABEL_RUN = "infra-validator.run"
LABEL_VALIDATION = "infra-validator.validation"
LABEL_MODEL = "infra-validator.model"
LABEL_DEADLINE = "infra-validator.deadline"
NAME = "infra-validator-model-server"
PROCESS = "infra-validator.process"  # an annotation: a label's value may not hold what names a process

#: The launch plan's files travel as annotations and are mounted by the downward API: no other object and no other right is needed.
_FILES_VOLUME = "files"
_FILES_DIRECTORY = "/etc/infra-validator"
_FILE_ANNOTATION = "infra-validator.file."

_COUNTED = ("cpu", "memory", "ephemeral-storage")  # what compute quotas ask for of every container

_GRACE_AFTER_TOTAL_TIME = 600  # seconds; activeDeadlineSeconds where the spec names none


@dataclasses.dataclass(frozen=True)
class PodContext:
    """What only the runner knows.

    Attributes:
      name: the pod's name.
      namespace: the pod's namespace.
      run_id: tells this job from all others.
      validation: the run id of the validation that it belongs to; empty outside of one.
      owner: who started it (a pod's name, a user at a machine), for people.
      owner_reference: the executor's own pod, whose end ends this one; None outside a cluster or across namespaces.
      node: the only node where the model's claim can be mounted; empty if any will do.
      total_seconds: how long the whole validation may take.
      deadline_utc: the pod's end in UTC seconds, for the label.
      stop_grace_seconds: how long the server may take to stop by itself.
      heartbeat: whether the validator renews a heartbeat, without which the node ends the server.
      process: the validator's process, by which ``gc`` on its machine sees that it is dead.
    """

    name: str
    namespace: str
    run_id: str
    owner: str
    owner_reference: Mapping[str, Any] | None
    node: str
    total_seconds: float
    deadline_utc: int
    stop_grace_seconds: float = 5.0
    heartbeat: bool = False
    process: str = dataclasses.field(default_factory=own_process)
    validation: str = ""


def active_deadline_seconds(config: KubernetesConfig, total_seconds: float) -> int:
    """The pod's activeDeadlineSeconds: from the spec, else the total time plus 600 s (TFX has 24 hours)."""
    return config.active_deadline_seconds or math.ceil(total_seconds) + _GRACE_AFTER_TOTAL_TIME


def label_value(text: str) -> str:
    """``text`` as a label's value: at most 63 characters, of the kinds that labels may have."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:63].strip("-_.") or "unknown"


def build_pod(plan: LaunchPlan, config: KubernetesConfig, delivery: Delivery, context: PodContext) -> dict[str, Any]:
    """The pod to create.

    Raises:
      SpecError: the pod template takes away what the validation needs; names the field.
    """
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": active_deadline_seconds(config, context.total_seconds),
        "terminationGracePeriodSeconds": math.ceil(context.stop_grace_seconds),
        "automountServiceAccountToken": bool(config.service_account_name),
        "enableServiceLinks": False,
        "securityContext": pod_security(config),
        "containers": [_server(plan, config, delivery)],
        "volumes": [*delivery.volumes, *map(dict, config.volumes)],
    }
    if delivery.init_container is not None:
        spec["initContainers"] = [
            {
                **delivery.init_container,
                "securityContext": CONTAINER_SECURITY,
                "terminationMessagePolicy": "FallbackToLogsOnError",
            }
        ]
        if config.image_pull_policy:
            spec["initContainers"][0]["imagePullPolicy"] = config.image_pull_policy
    if plan.files or plan.model_files:
        _mount_files(plan, spec)
    spec.update(_where_to_run(config, context.node))
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": context.name,
            "namespace": context.namespace,
            "labels": _labels(plan, config, context),
            "annotations": {PROCESS: context.process, **_annotations(config), **_files(plan)},
        },
        "spec": spec,
    }
    if context.owner_reference is not None:
        pod["metadata"]["ownerReferences"] = [dict(context.owner_reference)]
    merged = merge(pod, _plain(config.pod_template))
    _check_merged(merged, pod)
    if context.heartbeat:
        add_liveness(merged, SERVER_CONTAINER)
    if delivery.init_container is not None:
        _share_resources(merged["spec"], str(delivery.init_container["name"]))
    return merged


def _share_resources(spec: dict[str, Any], name: str) -> None:
    """Give our init container the server's resources: quotas ask for them of every container, and the pod's sum stays what it was.

    A pod counts with the larger of its largest init container and the sum of its containers. Devices are the server's alone.
    """
    (server,) = [one for one in spec["containers"] if one["name"] == SERVER_CONTAINER]
    shared = {
        part: kept
        for part in ("requests", "limits")
        if (
            kept := {
                kind: amount
                for kind, amount in (server.get("resources") or {}).get(part, {}).items()
                if kind in _COUNTED
            }
        )
    }
    for container in spec.get("initContainers") or ():
        if container["name"] == name and shared:
            container.setdefault("resources", shared)


def _labels(plan: LaunchPlan, config: KubernetesConfig, context: PodContext) -> dict[str, str]:
    mesh = {} if config.service_mesh else {"sidecar.istio.io/inject": "false"}
    return {
        **mesh,
        **config.labels,
        LABEL_NAME: NAME,
        LABEL_OWNER: label_value(context.owner),
        LABEL_RUN: context.run_id,
        **({LABEL_VALIDATION: label_value(context.validation)} if context.validation else {}),
        LABEL_MODEL: label_value(plan.model.name),
        LABEL_DEADLINE: str(context.deadline_utc),
    }


def _annotations(config: KubernetesConfig) -> dict[str, str]:
    mesh = {"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled"}
    overrides = config.serving_pod_overrides
    return {**({} if config.service_mesh else mesh), **(overrides.annotations if overrides else {})}


def _server(plan: LaunchPlan, config: KubernetesConfig, delivery: Delivery) -> dict[str, Any]:
    overrides = config.serving_pod_overrides
    arguments = plan.arguments(**_placeholders(plan))
    container: dict[str, Any] = {
        "name": SERVER_CONTAINER,
        "image": plan.image,
        "args": [escape(argument) for argument in arguments],
        "env": [{"name": name, "value": escape(value)} for name, value in plan.env.items()],
        "ports": [
            {"name": protocol, "containerPort": number, "protocol": "TCP"} for protocol, number in plan.ports.items()
        ],
        "volumeMounts": [delivery.mount, *map(dict, config.volume_mounts)],
        "securityContext": server_security(config),
        # The last lines of the log become the container's message where it wrote no other.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if plan.command:
        container["command"] = [escape(part) for part in plan.command]
    if config.image_pull_policy:
        container["imagePullPolicy"] = config.image_pull_policy
    for variable in overrides.env if overrides else ():
        container["env"] = [present for present in container["env"] if present["name"] != variable.name]
        container["env"].append(_environment_variable(variable))
    resources = _resources(overrides.resources if overrides else None, config)
    if resources:
        container["resources"] = resources
    return container


def _placeholders(plan: LaunchPlan) -> dict[str, str | int]:
    return {
        "bind_address": "0.0.0.0",
        "model_base_path": plan.model.model_base_path,
        "files_dir": _FILES_DIRECTORY,
        **{f"{protocol}_port": number for protocol, number in plan.ports.items()},
    }


def _files(plan: LaunchPlan) -> dict[str, str]:
    """The launch plan's files as annotations."""
    values = _placeholders(plan)
    texts = {**plan.file_texts(**values), **plan.model_file_texts(**values)}
    return {f"{_FILE_ANNOTATION}{name}": text for name, text in texts.items()}


def _mount_files(plan: LaunchPlan, spec: dict[str, Any]) -> None:
    items = [
        {"path": name, "fieldRef": {"fieldPath": f"metadata.annotations['{_FILE_ANNOTATION}{name}']"}}
        for name in (*plan.files, *plan.model_files)
    ]
    spec["volumes"].append({"name": _FILES_VOLUME, "downwardAPI": {"items": items}})
    mount = {"name": _FILES_VOLUME, "mountPath": _FILES_DIRECTORY, "readOnly": True}
    beside = [
        {**mount, "mountPath": f"{plan.model.model_base_path}/{name}", "subPath": name} for name in plan.model_files
    ]
    spec["containers"][0]["volumeMounts"] += [mount, *beside]


def _environment_variable(variable: EnvVar) -> dict[str, Any]:
    if variable.value_from is None or variable.value_from.secret_key_ref is None:
        return {"name": variable.name, "value": variable.value}  # as TFX has it, Kubernetes expands $(NAME) in it
    reference = variable.value_from.secret_key_ref
    selector: dict[str, Any] = {"name": reference.name, "key": reference.key}
    if reference.optional:
        selector["optional"] = True
    return {"name": variable.name, "valueFrom": {"secretKeyRef": selector}}


def _resources(resources: Resources | None, config: KubernetesConfig) -> dict[str, Any]:
    limits = dict(resources.limits) if resources else {}
    if config.gpus:
        limits[config.gpu_resource] = str(config.gpus)
    made: dict[str, Any] = {}
    if limits:
        made["limits"] = limits
    if resources and resources.requests:
        made["requests"] = dict(resources.requests)
    if resources and resources.claims:
        made["claims"] = [
            {"name": name, **({"request": request} if request else {})} for name, request in resources.claims.items()
        ]
    return made


def _where_to_run(config: KubernetesConfig, node: str) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if config.service_account_name:
        spec["serviceAccountName"] = config.service_account_name
    if config.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in config.image_pull_secrets]
    if config.node_selector:
        spec["nodeSelector"] = dict(config.node_selector)
    if config.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in config.tolerations]
    if config.runtime_class_name:
        spec["runtimeClassName"] = config.runtime_class_name
    if config.priority_class_name:
        spec["priorityClassName"] = config.priority_class_name
    if config.affinity:
        spec["affinity"] = dict(config.affinity)
    if node:
        spec["affinity"] = _pinned(spec.get("affinity", {}), node)
    return spec


def _pinned(affinity: Mapping[str, Any], node: str) -> dict[str, Any]:
    """``affinity`` with one node required. By affinity and not nodeName, so that the scheduler still checks for room."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    node_affinity = dict(affinity.get("nodeAffinity") or {})
    required = dict(node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {})
    terms = [dict(term) for term in required.get("nodeSelectorTerms") or [{}]]  # any of the terms is enough
    required["nodeSelectorTerms"] = [
        {**term, "matchFields": [*(term.get("matchFields") or ()), field]} for term in terms
    ]
    node_affinity["requiredDuringSchedulingIgnoredDuringExecution"] = required
    return {**affinity, "nodeAffinity": node_affinity}


def _check_merged(merged: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """What a pod template may not take away: the server, the model's volume and mount, our labels, the pod's name."""
    where = "serving_spec.kubernetes.pod_template"
    spec = merged.get("spec") or {}
    servers = [one for one in spec.get("containers") or () if one.get("name") == SERVER_CONTAINER]
    if len(servers) != 1:
        raise SpecError(
            f"{where}.spec.containers", f"leaves {len(servers)} containers called {SERVER_CONTAINER}; there must be one"
        )
    volumes = [volume for volume in spec.get("volumes") or () if volume.get("name") == MODEL_VOLUME]
    if volumes != [volume for volume in ours["spec"]["volumes"] if volume["name"] == MODEL_VOLUME]:
        raise SpecError(
            f"{where}.spec.volumes", f"removes or changes the volume {MODEL_VOLUME!r}, which holds the model"
        )
    mount = ours["spec"]["containers"][0]["volumeMounts"][0]
    if mount not in (servers[0].get("volumeMounts") or ()):
        raise SpecError(
            f"{where}.spec.containers[{SERVER_CONTAINER}].volumeMounts",
            f"removes or changes the mount of the model at {mount['mountPath']}",
        )
    _check_server(servers[0], ours["spec"]["containers"][0], f"{where}.spec.containers[{SERVER_CONTAINER}]")
    metadata = merged.get("metadata") or {}
    for part in ("name", "namespace"):
        if metadata.get(part) != ours["metadata"][part]:
            raise SpecError(f"{where}.metadata.{part}", "is not the template's to set")
    for label, value in ours["metadata"]["labels"].items():
        if label.startswith("infra-validator.") and (metadata.get("labels") or {}).get(label) != value:
            raise SpecError(f"{where}.metadata.labels.{label}", "labels that begin with infra-validator. are ours")


def _check_server(server: Mapping[str, Any], ours: Mapping[str, Any], where: str) -> None:
    """What decides which model is served, by which server, is not the template's."""
    for part in ("image", "command", "args"):
        if server.get(part) != ours.get(part):
            raise SpecError(
                f"{where}.{part}",
                "is not the template's to set: something else would be validated than what the spec names",
                next_step="Name images and arguments in serving_spec.tensorflow_serving (image_name, tags, extra_args).",
            )
    before = {one["name"]: one for one in ours.get("env") or ()}
    for one in server.get("env") or ():
        if one.get("name") in MODEL_VARIABLES and one != before.get(one["name"]):
            raise SpecError(f"{where}.env[{one['name']}]", "is not the template's to set: serving_spec.model_name is")
    model = ours["volumeMounts"][0]
    base = posixpath.dirname(model["mountPath"])
    for mount in server.get("volumeMounts") or ():
        target = posixpath.normpath(str(mount.get("mountPath", "")))
        is_ours = mount == model or (mount in ours["volumeMounts"] and mount.get("name") == _FILES_VOLUME)
        if not is_ours and f"{target}/".startswith(f"{base}/"):
            raise SpecError(
                f"{where}.volumeMounts", f"{target} would hide or stand beside the model's version in {base}"
            )


def check_created(asked: Mapping[str, Any], created: Mapping[str, Any]) -> None:
    """What must have survived the API server and its admission webhooks: our labels, the server, the model's volume and mount.

    Raises:
      InfrastructureError: something is missing (POD_REFUSED); names it.
    """

    def refuse(what: str) -> InfrastructureError:
        return InfrastructureError(
            ReasonCode.POD_REFUSED,
            f"The cluster changed the pod when it was created: {what}.",
            next_step="Exempt pods with the label infra-validator.owner from the admission webhook that does it.",
        )

    labels = created["metadata"].get("labels") or {}
    for label, value in asked["metadata"]["labels"].items():
        if label.startswith("infra-validator.") and labels.get(label) != value:
            raise refuse(f"the label {label} is {labels.get(label)!r} instead of {value!r}")
    servers = [one for one in created["spec"]["containers"] if one["name"] == SERVER_CONTAINER]
    if len(servers) != 1:
        raise refuse(f"there are {len(servers)} containers called {SERVER_CONTAINER}")
    wanted = next(volume for volume in asked["spec"]["volumes"] if volume["name"] == MODEL_VOLUME)
    kind = next(key for key in wanted if key != "name")
    if not any(one["name"] == MODEL_VOLUME and kind in one for one in created["spec"].get("volumes") or ()):
        known = " (this cluster's Kubernetes has no image volumes)" if kind == "image" else ""
        raise refuse(f"the volume {MODEL_VOLUME} has lost its source {kind!r}{known}")
    if not any(mount["name"] == MODEL_VOLUME for mount in servers[0].get("volumeMounts") or ()):
        raise refuse("the model's mount is gone")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
