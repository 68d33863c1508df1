"""The part of a serving spec that says how to run a model server in a pod."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from infra_validator.core.errors import SpecError
from infra_validator.specs.kubernetes.model import ModelSource
from infra_validator.specs.kubernetes.pod_template import check_pod_template
from infra_validator.specs.reader import above_zero, not_empty, not_negative, one_of, spec_field

_LABEL_VALUE = r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"
_QUALIFIED_NAME = r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"


def _labels(given: Mapping[str, str]) -> str | None:
    ours = next((key for key in given if key.startswith("infra-validator.")), None)
    return f"{ours!r} begins with infra-validator., which is ours" if ours else _selector(given)


def _selector(given: Mapping[str, str]) -> str | None:
    for key, value in given.items():
        if not re.fullmatch(_QUALIFIED_NAME, key):
            return f"{key!r} is no name of a label"
        if not re.fullmatch(_LABEL_VALUE, value):
            return (
                f"{key!r} has a value that is no label value (at most 63 letters, digits, '-', '_' and '.'): {value!r}"
            )
    return None


def _annotations(given: Mapping[str, str]) -> str | None:
    for key in given:
        if not re.fullmatch(_QUALIFIED_NAME, key):
            return f"{key!r} is no name of an annotation"
    return None


def _object_name(name: str) -> str | None:
    if name and not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", name):
        return f"must be at most 253 lower-case letters, digits, '-' and '.', not {name!r}"
    return None


def _namespace(name: str) -> str | None:
    if name and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
        return f"must be at most 63 lower-case letters, digits and '-', not {name!r}"
    return None


def _variable_name(name: str) -> str | None:
    return None if re.fullmatch(r"[-._a-zA-Z][-._a-zA-Z0-9]*", name) else f"is no name of a variable: {name!r}"


def _quantities(given: Mapping[str, str]) -> str | None:
    for key, value in given.items():
        if not re.fullmatch(r"\d+(\.\d+)?([eE][+-]?\d+|m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?", value):
            return f"{key!r} must be a quantity such as 500m or 2Gi, not {value!r}"
    return None


@dataclasses.dataclass(frozen=True)
class SecretKeySelector:
    """TFX's EnvVarSource.secret_key_ref."""

    key: str = spec_field("", "The key in the secret.", check=not_empty)
    name: str = spec_field("", "The secret's name.", check=not_empty)
    optional: bool = spec_field(False, "Whether the secret may be absent.")


@dataclasses.dataclass(frozen=True)
class EnvVarSource:
    """TFX's EnvVarSource."""

    secret_key_ref: SecretKeySelector | None = spec_field(None, "A key of a secret.")


@dataclasses.dataclass(frozen=True)
class EnvVar:
    """TFX's EnvVar."""

    name: str = spec_field("", "The variable's name.", check=_variable_name)
    value: str = spec_field("", "Its value.")
    value_from: EnvVarSource | None = spec_field(None, "Where its value comes from.")

    def check(self, path: str) -> None:
        """Called by the reader; raises SpecError if what is said in one field does not go with another."""
        if not self.name:
            raise SpecError(f"{path}.name", "must not be empty")
        if self.value_from is not None and self.value:
            raise SpecError(path, "has a value and value_from; one is enough")
        if self.value_from is not None and self.value_from.secret_key_ref is None:
            raise SpecError(f"{path}.value_from", "names no source; secret_key_ref is the one there is")


@dataclasses.dataclass(frozen=True)
class Resources:
    """TFX's Resources."""

    requests: Mapping[str, str] = spec_field({}, "Requests, e.g. memory: 2Gi.", check=_quantities)
    limits: Mapping[str, str] = spec_field({}, "Limits, e.g. memory: 2Gi.", check=_quantities)
    claims: Mapping[str, str] = spec_field(
        {}, "Resource claims: the keys are names in the pod's resourceClaims, the values requests in them, or empty."
    )


@dataclasses.dataclass(frozen=True)
class PodOverrides:
    """TFX's serving_pod_overrides."""

    annotations: Mapping[str, str] = spec_field({}, "Annotations of the pod.", check=_annotations)
    env: tuple[EnvVar, ...] = spec_field((), "Environment variables of the server's container.")
    resources: Resources | None = spec_field(None, "Resources of the server's container.")


@dataclasses.dataclass(frozen=True)
class ApiServer:
    """An API server named by hand, for where there is neither a service account nor a kubeconfig."""

    url: str = spec_field("", "Its URL, e.g. https://10.0.0.1:6443.", check=not_empty)
    token_file: str = spec_field("", "A file with a bearer token; read again when it changes.")
    ca_file: str = spec_field("", "The certificate authority that signed its certificate.")
    insecure_skip_tls_verify: bool = spec_field(False, "Whether any certificate will do.")

    def check(self, path: str) -> None:
        """Called by the reader; raises SpecError if what is said in one field does not go with another."""
        if not re.match(r"https?://[^/]+", self.url):
            raise SpecError(f"{path}.url", f"must be a URL such as https://10.0.0.1:6443, not {self.url!r}")


@dataclasses.dataclass(frozen=True)
class KubernetesConfig:
    """A pod of a Kubernetes cluster. The first three fields are TFX's."""

    service_account_name: str = spec_field(
        "", "The pod's service account; empty: the default one, and no token is mounted.", check=_object_name
    )
    active_deadline_seconds: int | None = spec_field(
        None,
        "The pod's activeDeadlineSeconds; unset: the total time plus 600 s (TFX: 24 hours). Must exceed the loading limit.",
        unit="seconds",
        check=above_zero,
        unset_at_zero=True,
    )
    serving_pod_overrides: PodOverrides | None = spec_field(None, "TFX's overrides of the pod.")

    # --- which cluster
    namespace: str = spec_field(
        "", "The pod's namespace; empty: the context's, else the service account's.", check=_namespace
    )
    kubeconfig: str = spec_field("", "A kubeconfig file; empty: in a pod its service account, else KUBECONFIG.")
    context: str = spec_field("", "The context in the kubeconfig; empty: its current one.")
    api_server: ApiServer | None = spec_field(None, "An API server named by hand.")
    call_timeout_seconds: float = spec_field(
        15.0, "Time limit of one call to the API server.", unit="seconds", check=above_zero
    )

    # --- the model, and talking to the server
    model: ModelSource | None = spec_field(None, "How the model gets to the pod; unset: chosen by its path, and said.")
    look_before_start: bool = spec_field(
        True,
        "Whether an init container of the server's image (needs sh) looks whether a model on a claim or a node is there and readable.",
    )
    endpoint: str = spec_field(
        "auto",
        "How the server is reached; auto: the pod's IP from inside the cluster where it answers, else port-forward.",
        check=one_of("auto", "pod_ip", "port_forward"),
    )

    # --- waiting
    start_timeout_seconds: float = spec_field(
        600.0,
        "Limit from the pod's creation to the server's process: scheduling, volumes, model, image pull.",
        unit="seconds",
        check=above_zero,
    )
    pull_grace_seconds: float = spec_field(
        30.0, "How long a failing image pull may be tried by the node.", unit="seconds", check=not_negative
    )
    unschedulable_grace_seconds: float = spec_field(
        180.0,
        "How long no node may be found for the pod; cluster autoscalers need minutes.",
        unit="seconds",
        check=not_negative,
    )
    mount_grace_seconds: float = spec_field(
        45.0, "How long a failing volume mount may be tried by the node.", unit="seconds", check=not_negative
    )

    # --- the pod
    pod_template: Mapping[str, Any] = spec_field(
        {}, "A pod template ({metadata, spec}), merged over ours by the rules of a strategic merge patch."
    )
    labels: Mapping[str, str] = spec_field({}, "Labels of the pod, beside ours.", check=_labels)
    image_pull_secrets: tuple[str, ...] = spec_field((), "Secrets for the image registry.")
    image_pull_policy: str = spec_field(
        "", "The container's imagePullPolicy; empty: the server's.", check=one_of("", "Always", "IfNotPresent", "Never")
    )
    node_selector: Mapping[str, str] = spec_field({}, "The pod's nodeSelector.", check=_selector)
    tolerations: tuple[Mapping[str, Any], ...] = spec_field((), "The pod's tolerations.")
    affinity: Mapping[str, Any] = spec_field({}, "The pod's affinity.")
    runtime_class_name: str = spec_field("", "The pod's runtimeClassName.", check=_object_name)
    priority_class_name: str = spec_field("", "The pod's priorityClassName.", check=_object_name)
    gpus: int = spec_field(0, "How many GPUs the server gets.", check=not_negative)
    gpu_resource: str = spec_field("nvidia.com/gpu", "The name of the GPU resource.", check=not_empty)
    volumes: tuple[Mapping[str, Any], ...] = spec_field((), "More volumes of the pod.")
    volume_mounts: tuple[Mapping[str, Any], ...] = spec_field((), "More volumeMounts of the server's container.")
    service_mesh: bool = spec_field(False, "Whether Istio and Linkerd may inject their sidecars.")

    # --- security: the pod passes the restricted Pod Security Standard unless these say otherwise
    run_as_user: int = spec_field(
        1000, "The numeric user of all containers; 0: left to the cluster (OpenShift assigns one).", check=not_negative
    )
    fs_group: int = spec_field(1000, "The group that owns the volumes; 0: left to the cluster.", check=not_negative)
    hardening: str = spec_field(
        "auto",
        "Whether the server runs under restrictions of ours (docs/kubernetes.md). strict: always. image: never. auto: a server that "
        "ends under them before it served is tried as its image's author made it, and the report says so.",
        check=one_of("auto", "strict", "image"),
    )
    allow_root: bool = spec_field(False, "Whether the image's own user, root perhaps, is kept.")
    read_only_root_filesystem: bool = spec_field(False, "Whether the server may not write to its image.")

    @property
    def restrictions(self) -> tuple[str, ...]:
        """What the server is held to beyond what its image says, for people."""
        if self.hardening == "image":
            return ()
        user = (
            ()
            if self.allow_root
            else (f"the user {self.run_as_user}" if self.run_as_user else "a user that is not root",)
        )
        read_only = ("a read-only root file system",) if self.read_only_root_filesystem else ()
        return ("no capabilities", "no new privileges", *user, *read_only)

    @property
    def brings_model(self) -> bool:
        """Whether the server's files are the model's own: uploaded, or on the claim through which this machine sees them.

        What lies on a claim, a node, in an image or a store that the spec names may be something else.
        """
        way = self.model
        return way is None or not (way.pvc or way.fetch or way.image or way.host_path)

    def check(self, path: str) -> None:
        """Called by the reader; raises SpecError if what is said in one field does not go with another."""
        if self.api_server is not None and (self.kubeconfig or self.context):
            raise SpecError(path, "names api_server and kubeconfig or context; one way to the cluster is enough")
        check_pod_template(self.pod_template, f"{path}.pod_template")
        for index, name in enumerate(self.image_pull_secrets):
            problem = _object_name(name) if name else "must not be empty"
            if problem:
                raise SpecError(f"{path}.image_pull_secrets[{index}]", problem)

    def check_loading_limit(self, path: str, max_loading_time_seconds: float) -> None:
        """Raise SpecError if the pod would end before its model may have loaded."""
        limit = self.active_deadline_seconds
        if limit is not None and limit <= max_loading_time_seconds:
            raise SpecError(
                f"{path}.active_deadline_seconds",
                f"must exceed validation_spec.max_loading_time_seconds ({max_loading_time_seconds:g}), not be {limit}",
            )
