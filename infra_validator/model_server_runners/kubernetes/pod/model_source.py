"""How the model gets to the pod: volume, mount and init container for each way, and which way is taken. Pure.

Every way puts the SavedModel at the launch plan's target directory, read-only for the server.
"""

from __future__ import annotations

import dataclasses
import math
import string
from typing import Any

from infra_validator.core.errors import SpecError
from infra_validator.core.launch_plan import ModelMount
from infra_validator.model_server_runners.kubernetes.causes import (
    FETCH_CONTAINER,
    LOOK_CONTAINER,
    LOOK_NOT_FOUND,
    LOOK_NOT_READABLE,
    UPLOAD_CONTAINER,
)
from infra_validator.specs import KubernetesConfig
from infra_validator.specs.kubernetes.model import (
    ClaimSource,
    FetchSource,
    HostPathSource,
    ImageSource,
    ModelSource,
    UploadSource,
)

MODEL_VOLUME = "model"
_SECRET_VOLUME = "model-store-secret"
_SECRET_DIRECTORY = "/var/run/infra-validator/model-store"
_FIELD = "serving_spec.kubernetes.model"

#: scheme -> (image, command) of the init container that fetches.
STORES: dict[str, tuple[str, tuple[str, ...]]] = {
    "gs": (
        "gcr.io/google.com/cloudsdktool/google-cloud-cli:460.0.0-slim",
        ("gcloud", "storage", "rsync", "--recursive", "${source}", "${target}"),
    ),
    "s3": (
        "amazon/aws-cli:2.15.0",
        ("aws", "s3", "cp", "--recursive", "--only-show-errors", "${source}", "${target}"),
    ),
    "http": (
        "curlimages/curl:8.5.0",
        ("sh", "-c", 'set -e; curl -fsSL -o /tmp/model "$0"; tar -xf /tmp/model -C "$1"', "${source}", "${target}"),
    ),
}
STORES["https"] = STORES["http"]

#: The file whose appearance beside the model lets the receiving init container end.
UPLOAD_MARKER = ".infra-validator-uploaded"
RECEIVING_DIRECTORY = "/var/run/infra-validator/model"
_LOOK_DIRECTORY = "/var/run/infra-validator/look"

#: $0 directory, $1 how people call it. Runs as the server's user. A disk's own lost+found is not the model's.
_LOOK = f"""\
who="user $(id -u), groups $(id -G)"
[ -e "$0" ] || {{ echo "there is no $1"; exit {LOOK_NOT_FOUND}; }}
[ -d "$0" ] || {{ echo "$1 is no directory"; exit {LOOK_NOT_FOUND}; }}
[ -r "$0" ] && [ -x "$0" ] || {{ echo "$1 cannot be read by $who"; exit {LOOK_NOT_READABLE}; }}
[ -n "$(ls -A "$0")" ] || {{ echo "$1 is empty"; exit {LOOK_NOT_FOUND}; }}
command -v find > /dev/null || exit 0
bad=$(cd "$0" && find -L . -name lost+found -prune -o ! -type l -exec sh -c '
for file; do
  [ -r "$file" ] && {{ [ ! -d "$file" ] || [ -x "$file" ]; }} || {{ echo "${{file#./}}"; exit 1; }}
done' sh {{}} + 2> /dev/null) || {{
  echo "$(echo "$bad" | head -n 1) in $1 cannot be read by $who"; exit {LOOK_NOT_READABLE}; }}
"""


@dataclasses.dataclass(frozen=True)
class Delivery:
    """One way for the model into the pod.

    Attributes:
      says: one sentence for people: which way and why.
      volumes: volumes of the pod; the first holds the model.
      mount: the server's volumeMount.
      init_container: the container that brings the model, or looks at one that is mounted, without security context; None if none is
        needed.
      uploads: whether somebody has to send the model into the init container.
      strict: whether the API server must refuse what it does not know (an older one would leave the model out silently).
    """

    says: str
    volumes: tuple[dict[str, Any], ...]
    mount: dict[str, Any]
    init_container: dict[str, Any] | None = None
    uploads: bool = False
    strict: bool = False


def scheme_of(source: str) -> str:
    """``gs`` of ``gs://bucket/model``; empty for a local path."""
    scheme, separator, _ = source.partition("://")
    return scheme.lower() if separator else ""


def choose(config: KubernetesConfig, model: ModelMount, own_claim: ClaimSource | None) -> ModelSource:
    """The way that the spec names, else the one for the model's path (``pvc://claim/path``, ``oci://image``, ``gs://...``).

    Args:
      config: the Kubernetes part of the serving spec.
      model: where the model is.
      own_claim: the claim through which our own pod sees the model, if it does.

    Raises:
      SpecError: there is no way for this scheme.
    """
    named = config.model
    if named is not None and any(getattr(named, field.name) is not None for field in dataclasses.fields(named)):
        return named
    scheme = scheme_of(model.source)
    if scheme == "oci":
        return ModelSource(image=ImageSource())
    if scheme == "pvc":
        claim, _, inside = model.source.partition("://")[2].partition("/")
        return ModelSource(pvc=ClaimSource(claim_name=claim, sub_path=inside.strip("/")))
    if scheme in STORES:
        return ModelSource(fetch=FetchSource())
    if scheme:
        raise SpecError(
            _FIELD,
            f"there is no way for {scheme}:// to a pod; name an init container in {_FIELD}.fetch (image, command)",
        )
    if own_claim is not None:
        return ModelSource(pvc=own_claim)
    return ModelSource(upload=UploadSource())


def make_delivery(
    way: ModelSource, model: ModelMount, server_image: str, model_bytes: int = 0, look: bool = True
) -> Delivery:
    """Volume, mount and init container for ``way``.

    Args:
      way: one way, as :func:`choose` gives it.
      model: where the model is and where the server must see it.
      server_image: receives uploads where no other image is named.
      model_bytes: the model's size, for the room that an upload gets.
      look: whether an init container of the server's image looks at a model that is mounted before the server starts.

    Raises:
      SpecError: the way does not fit the model's path.
    """
    mounted = _from_claim(way.pvc, model) if way.pvc is not None else None
    mounted = _from_host(way.host_path, model) if way.host_path is not None else mounted
    if mounted is not None:
        container = {"image": server_image, **(mounted.init_container or {})} if look else None
        return dataclasses.replace(mounted, init_container=container)
    if way.image is not None:
        return _from_image(way.image, model)
    if way.fetch is not None:
        return _by_fetching(way.fetch, model)
    assert way.upload is not None
    return _by_upload(way.upload, model, server_image, model_bytes)


def _from_claim(claim: ClaimSource, model: ModelMount) -> Delivery:
    mount = {"name": MODEL_VOLUME, "mountPath": model.target, "readOnly": True}
    if claim.sub_path:
        mount["subPath"] = claim.sub_path
    return Delivery(
        f"The model is mounted from the claim {claim.claim_name}, path {claim.sub_path or '/'}.",
        ({"name": MODEL_VOLUME, "persistentVolumeClaim": {"claimName": claim.claim_name}},),
        mount,
        _look(f"{claim.sub_path or '/'} on the claim {claim.claim_name}", claim.sub_path),
    )


def _look(called: str, inside: str = "") -> dict[str, Any]:
    """The init container that looks, as the server's user, whether the mounted model is there and can be read.

    It mounts the whole volume: of a ``subPath`` that is not there the node would make a directory.
    """
    directory = f"{_LOOK_DIRECTORY}/{inside}" if inside else _LOOK_DIRECTORY
    return {
        "name": LOOK_CONTAINER,
        "command": ["sh", "-c", escape(_LOOK), directory, escape(called)],
        "volumeMounts": [{"name": MODEL_VOLUME, "mountPath": _LOOK_DIRECTORY, "readOnly": True}],
    }


def _from_image(image: ImageSource, model: ModelMount) -> Delivery:
    reference = image.reference or model.source.partition("://")[2]
    if not reference or (not image.reference and scheme_of(model.source) != "oci"):
        raise SpecError(f"{_FIELD}.image.reference", "names no image, and the model's path is not oci://...")
    return Delivery(
        f"The model is mounted from the image {reference}.",
        ({"name": MODEL_VOLUME, "image": {"reference": reference, "pullPolicy": image.pull_policy}},),
        {"name": MODEL_VOLUME, "mountPath": model.target, "readOnly": True},
        strict=True,
    )


def _from_host(host: HostPathSource, model: ModelMount) -> Delivery:
    path = host.path or model.source
    if not path.startswith("/"):
        raise SpecError(f"{_FIELD}.host_path.path", f"must be an absolute path on the node, not {path!r}")
    return Delivery(
        f"The model is mounted from the node's own directory {path}.",
        ({"name": MODEL_VOLUME, "hostPath": {"path": path, "type": "Directory"}},),
        {"name": MODEL_VOLUME, "mountPath": model.target, "readOnly": True},
        _look(f"{path} on the node"),
    )


def _by_fetching(fetch: FetchSource, model: ModelMount) -> Delivery:
    scheme = scheme_of(model.source)
    image, command = STORES.get(scheme, ("", ()))
    image, command = fetch.image or image, fetch.command or command
    if not image or not command:
        raise SpecError(f"{_FIELD}.fetch", f"needs image and command: there are none for {model.source!r}")
    values = {"source": model.source, "target": model.target}
    container: dict[str, Any] = {
        "name": FETCH_CONTAINER,
        "image": image,
        "command": [escape(string.Template(part).safe_substitute(values)) for part in command],
        "env": [{"name": name, "value": value} for name, value in {"HOME": "/tmp", **fetch.env}.items()],
        "volumeMounts": [{"name": MODEL_VOLUME, "mountPath": model.target}],
    }
    volumes: list[dict[str, Any]] = [{"name": MODEL_VOLUME, "emptyDir": {}}]
    if fetch.secret_name:
        _give_secret(container, volumes, fetch.secret_name, scheme)
    return Delivery(
        f"The model is fetched from {model.source} by an init container of {image}.",
        tuple(volumes),
        {"name": MODEL_VOLUME, "mountPath": model.target, "readOnly": True},
        container,
    )


def _give_secret(container: dict[str, Any], volumes: list[dict[str, Any]], secret: str, scheme: str) -> None:
    """Credentials as the store's own tool expects them: a key file for Google's, environment variables for the others."""
    if scheme != "gs":
        container["envFrom"] = [{"secretRef": {"name": secret}}]
        return
    volumes.append({"name": _SECRET_VOLUME, "secret": {"secretName": secret}})
    container["volumeMounts"].append({"name": _SECRET_VOLUME, "mountPath": _SECRET_DIRECTORY, "readOnly": True})
    for variable in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE"):
        container["env"].append({"name": variable, "value": f"{_SECRET_DIRECTORY}/key.json"})


def _by_upload(upload: UploadSource, model: ModelMount, server_image: str, model_bytes: int) -> Delivery:
    image = upload.image or server_image
    mebibytes = math.ceil(model_bytes * 1.05 / 2**20) + 16  # room for directories and the file system's own blocks
    wait = f"until [ -e {RECEIVING_DIRECTORY}/{UPLOAD_MARKER} ]; do sleep 0.1; done"
    return Delivery(
        f"The model ({model_bytes / 2**20:.1f} MiB) is uploaded through the API server into an init container of {image}.",
        ({"name": MODEL_VOLUME, "emptyDir": {"sizeLimit": f"{mebibytes}Mi"}},),
        {"name": MODEL_VOLUME, "mountPath": model.target, "subPath": "model", "readOnly": True},
        {
            "name": UPLOAD_CONTAINER,
            "image": image,
            "command": ["sh", "-c", f"mkdir -p {RECEIVING_DIRECTORY}/model && {wait}"],
            "volumeMounts": [{"name": MODEL_VOLUME, "mountPath": RECEIVING_DIRECTORY}],
        },
        uploads=True,
    )


def escape(argument: str) -> str:
    """An argument in which Kubernetes expands nothing: ``$(NAME)`` is written ``$$(NAME)`` in a pod."""
    return argument.replace("$(", "$$(")
