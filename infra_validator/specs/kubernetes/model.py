"""The part of a Kubernetes spec that says how the model gets to the pod. At most one way is named; else see docs/kubernetes.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from infra_validator.core.errors import SpecError
from infra_validator.specs.local_process import environment, size
from infra_validator.specs.reader import not_empty, one_of, spec_field


def _absolute(path: str) -> str | None:
    return None if path.startswith("/") and ".." not in path.split("/") else f"must be an absolute path, not {path!r}"


def _sub_path(path: str) -> str | None:
    if path.startswith("/") or ".." in path.split("/"):
        return f"must be a path inside the volume, not {path!r}"
    return None


@dataclasses.dataclass(frozen=True)
class ClaimSource:
    """The model lies on a PersistentVolumeClaim."""

    claim_name: str = spec_field("", "The claim, in the pod's namespace.", check=not_empty)
    sub_path: str = spec_field("", "The SavedModel directory inside the volume.", check=_sub_path)


@dataclasses.dataclass(frozen=True)
class FetchSource:
    """An init container copies the model from a remote store (gs://, s3://, http://, https://) into an emptyDir."""

    image: str = spec_field("", "The init container's image; empty: one for the store's scheme (docs/kubernetes.md).")
    command: tuple[str, ...] = spec_field(
        (), "Its command; ${source} and ${target} are filled in. Empty: the scheme's own copy command."
    )
    env: Mapping[str, str] = spec_field({}, "Environment variables of the init container.", check=environment)
    secret_name: str = spec_field(
        "", "A secret with the store's credentials: environment variables for s3://, key.json for gs://."
    )


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """The model is in an OCI image, mounted as an image volume (Kubernetes 1.31 with the feature gate, 1.35 and newer)."""

    reference: str = spec_field("", "The image; empty: the model path after oci://.")
    pull_policy: str = spec_field(
        "IfNotPresent", "When the image is pulled.", check=one_of("Always", "IfNotPresent", "Never")
    )


@dataclasses.dataclass(frozen=True)
class HostPathSource:
    """The model lies on the node's own file system; not allowed by the restricted Pod Security Standard."""

    path: str = spec_field("", "The SavedModel directory on the node.", check=_absolute)


@dataclasses.dataclass(frozen=True)
class UploadSource:
    """The model is sent through the API server into an emptyDir."""

    max_size: str = spec_field("2g", "The largest model that is sent.", check=size)
    image: str = spec_field("", "The image that receives it (needs sh, head and tar); empty: the serving image.")


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """How the model gets to the pod. None named: chosen by the model's path and said in the log."""

    pvc: ClaimSource | None = spec_field(None, "It lies on a claim.")
    fetch: FetchSource | None = spec_field(None, "An init container fetches it.")
    image: ImageSource | None = spec_field(None, "It is in an OCI image.")
    host_path: HostPathSource | None = spec_field(None, "It lies on the node.")
    upload: UploadSource | None = spec_field(None, "It is uploaded through the API server.")

    def check(self, path: str) -> None:
        """Called by the reader; raises SpecError if what is said in one field does not go with another."""
        named = [field.name for field in dataclasses.fields(self) if getattr(self, field.name) is not None]
        if len(named) > 1:
            raise SpecError(path, f"names {' and '.join(named)}; one way to get the model is enough")
