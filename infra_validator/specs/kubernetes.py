"""The part of a serving spec that says how to run a model server in a pod."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from infra_validator.specs.reader import above_zero, not_empty, spec_field


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

    name: str = spec_field("", "The variable's name.", check=not_empty)
    value: str = spec_field("", "Its value.")
    value_from: EnvVarSource | None = spec_field(None, "Where its value comes from.")


@dataclasses.dataclass(frozen=True)
class Resources:
    """TFX's Resources."""

    requests: Mapping[str, str] = spec_field({}, "Requests, e.g. memory: 2Gi.")
    limits: Mapping[str, str] = spec_field({}, "Limits, e.g. memory: 2Gi.")


@dataclasses.dataclass(frozen=True)
class PodOverrides:
    """TFX's serving_pod_overrides."""

    annotations: Mapping[str, str] = spec_field({}, "Annotations of the pod.")
    env: tuple[EnvVar, ...] = spec_field((), "Environment variables of the server's container.")
    resources: Resources | None = spec_field(None, "Resources of the server's container.")


@dataclasses.dataclass(frozen=True)
class KubernetesConfig:
    """A pod of a Kubernetes cluster. The first three fields are TFX's."""

    service_account_name: str = spec_field("", "The pod's service account; empty: none is mounted.")
    active_deadline_seconds: int | None = spec_field(
        None, "The pod's activeDeadlineSeconds; unset: the total time plus 600 s.", unit="seconds", check=above_zero
    )
    serving_pod_overrides: PodOverrides | None = spec_field(None, "TFX's overrides of the pod.")
