"""From what people call "the model" to the SavedModel directory in it."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
from collections.abc import Collection

from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.saved_model.versions import version_of

GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt")  # in the order in which TensorFlow looks for them
#: Where TensorFlow Serving looks for a model's warm-up file, below the SavedModel directory.
WARMUP_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
TFLITE_FILE = "model.tflite"  # what a server with --prefer_tflite_model looks for before these

_TFX_SERVING_DIRECTORY = "Format-Serving"  # inside a TFX Model artifact
_KERAS_FILES = (".keras", ".h5", ".hdf5")
_EXPORT = "Export it for serving: keras.models.load_model(FILE).export(DIRECTORY)."
_LISTED_NAMES = 5  # of a directory's content, in messages


@dataclasses.dataclass(frozen=True)
class FoundModel:
    """Where the SavedModel is.

    Attributes:
      path: the SavedModel directory.
      note: how it was found when it is not the path given, one sentence; else empty.
      warning: what a model server would make of the path given that is something else, one sentence; else empty.
    """

    path: str
    note: str = ""
    warning: str = ""


def find_saved_model(
    path: str, asked_versions: Collection[int] = (), files: tuple[str, ...] = GRAPH_FILES
) -> FoundModel:
    """The SavedModel that ``path`` means.

    ``path`` may be the SavedModel directory itself, a TFX Model artifact (``<uri>/Format-Serving``), or the base path of a model
    server, which holds one directory per version: of these the highest number counts, as in TensorFlow Serving.

    Args:
      path: what people call the model.
      asked_versions: the only versions that the server would serve of a base path; none: whatever is there.
      files: one of these makes a directory a model.

    Raises:
      InfrastructureError: there is nothing at the path (MODEL_NOT_FOUND), or it cannot be looked at (MODEL_NOT_READABLE).
      AttemptFailed: there is no SavedModel in it (MODEL_NOT_A_SAVED_MODEL).
    """
    names = _list(path)
    versions = {version: name for name in sorted(names) if (version := version_of(name)) is not None}
    if any(name in names for name in files):
        return FoundModel(path, warning=_beside(path, versions))
    if _TFX_SERVING_DIRECTORY in names:
        inside = find_saved_model(os.path.join(path, _TFX_SERVING_DIRECTORY), asked_versions, files)
        return FoundModel(inside.path, f"{path} is a TFX Model artifact; {inside.path} is validated.", inside.warning)
    if versions:
        served = {
            version: name for version, name in versions.items() if not asked_versions or version in asked_versions
        }
        if not served:
            raise _no_such_version(path, versions, asked_versions)
        newest = os.path.join(path, served[max(served)])
        if any(name in _list(newest) for name in files):
            highest = " that the server is told to serve the highest" if asked_versions else " the highest"
            others = f" of {len(versions)} versions{highest}" if len(versions) > 1 else " the only version in it"
            return FoundModel(newest, f"{path} is a model base path; {newest},{others}, is validated.")
        raise _not_a_saved_model(
            newest,
            f"(the highest version in {path}{' that is asked for' if asked_versions else ''}) holds no saved_model.pb",
        )
    if not names:
        raise _not_a_saved_model(path, "is empty")
    keras = sorted(name for name in names if name.endswith(_KERAS_FILES))
    if keras:
        raise _not_a_saved_model(path, f"holds no saved_model.pb, but the Keras file {keras[0]}", _EXPORT)
    some = ", ".join(sorted(names)[:_LISTED_NAMES])
    more = f" and {len(names) - _LISTED_NAMES} more" if len(names) > _LISTED_NAMES else ""
    raise _not_a_saved_model(path, f"holds no saved_model.pb, only {some}{more}")


def _no_such_version(path: str, versions: Collection[int], asked: Collection[int]) -> InfrastructureError:
    there, wanted = (", ".join(str(version) for version in sorted(some)) for some in (versions, asked))
    return InfrastructureError(
        ReasonCode.MODEL_NOT_FOUND,
        f"{path} is a model base path with the versions {there}; the server is told to serve {wanted} only.",
        next_step="Give the directory of one version, or correct the version policy of the model config file.",
    )


def _list(path: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(path))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def _beside(path: str, versions: dict[int, str]) -> str:
    """What is to be said of version directories beside a SavedModel's own files."""
    if not any(os.path.isdir(os.path.join(path, name)) for name in versions.values()):
        return ""
    newest = versions[max(versions)]
    return (
        f"{path} holds a SavedModel, which is validated, and beside it the version directory {newest}, which is not: a model "
        f"server whose base path is {path} serves {newest}."
    )


def _not_a_saved_model(path: str, problem: str, next_step: str = "") -> AttemptFailed:
    return AttemptFailed(ReasonCode.MODEL_NOT_A_SAVED_MODEL, f"{path} {problem}.", next_step=next_step)


def unreadable(path: str, error: OSError | ValueError) -> InfrastructureError | AttemptFailed:
    """Our error for the operating system's, met while reading ``path`` of a model."""
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.ENOENT:
        if os.path.islink(path):
            return InfrastructureError(
                ReasonCode.MODEL_NOT_FOUND, f"{path} is a symbolic link to {os.readlink(path)}, which does not exist."
            )
        remote = re.match(r"[a-z][a-z0-9+.-]*://", path)
        next_step = "Copy the model to this machine and give its local path." if remote else ""
        return InfrastructureError(ReasonCode.MODEL_NOT_FOUND, f"{path} does not exist.", next_step=next_step)
    if code == errno.ENOTDIR:
        if path.endswith(_KERAS_FILES):
            return _not_a_saved_model(path, "is a Keras file, not a SavedModel directory", _EXPORT)
        return _not_a_saved_model(path, "is a file, not a directory")
    if code == errno.ELOOP:
        return InfrastructureError(
            ReasonCode.MODEL_NOT_READABLE,
            f"{path} is a symbolic link that leads back to itself.",
            next_step="Make the link point at the SavedModel directory.",
        )
    user = f" (as user {os.geteuid()})" if code in (errno.EACCES, errno.EPERM) else ""
    problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InfrastructureError(ReasonCode.MODEL_NOT_READABLE, f"{path} cannot be read{user}: {problem}.")
