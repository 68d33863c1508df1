"""What goes into the InfraBlessing artifact: the marks that the stock Pusher reads, and all that people and tools want to know.

<uri>/INFRA_BLESSED or INFRA_NOT_BLESSED   an empty file, as TFX writes it
<uri>/verdict.json                         the whole report, as data
<uri>/report.html, junit.xml, summary.md   the same for people and for CI systems
<uri>/logs/<serving binary>-attempt-<n>.log  the server's last lines in each attempt
<uri>/stamped_model/                       the model with its warm-up file, if request_spec.make_warmup
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator

from tfx import types
from tfx.dsl.io import fileio
from tfx.utils import io_utils, path_utils

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.formats.every_format import FORMATS, files_of
from infra_validator.report.verdict import ValidationReport
from infra_validator.validation.warmup.warmed_copy import LocalWarmedCopy, WarmedCopy

_LONGEST_PROPERTY = 1000  # characters; MLMD's MySQL backend refuses very long strings


#: What an execution writes into the artifact; names under its URI, and custom properties.
_REPORTS = tuple(form.file for form in FORMATS.values())
_FILES = ("INFRA_BLESSED", "INFRA_NOT_BLESSED", "verdict.json", *_REPORTS, "logs", "stamped_model")
_PROPERTIES = ("blessed", "has_model", "reason_code", "reason", "evidence", "serving_binaries")


def clear(blessing: types.Artifact) -> None:
    """Take out what an earlier execution left in the artifact. Called first: nothing old may outlive an execution that fails."""
    for name in _FILES:
        path = os.path.join(blessing.uri, name)
        if not fileio.exists(path):
            continue
        if fileio.isdir(path):
            fileio.rmtree(path)
        else:
            fileio.remove(path)
    for name in _PROPERTIES:
        if name in blessing.mlmd_artifact.custom_properties:
            del blessing.mlmd_artifact.custom_properties[name]


def write_report(blessing: types.Artifact, report: ValidationReport) -> None:
    """Write ``verdict.json``, its reports and the servers' logs into the artifact, and name the reason in its properties."""
    io_utils.write_string_file(os.path.join(blessing.uri, "verdict.json"), report.to_json())
    for name, text in files_of(report.to_dict()).items():
        io_utils.write_string_file(os.path.join(blessing.uri, name), text)
    for binary in report.serving_binaries:
        for attempt in binary.attempts:
            if attempt.server_log:
                name = f"{_file_name(binary.label)}-attempt-{attempt.number}.log"
                io_utils.write_string_file(os.path.join(blessing.uri, "logs", name), attempt.server_log)
    labels = ", ".join(binary.label for binary in report.serving_binaries)
    for key, text in (
        ("reason_code", report.finding.reason.name),
        ("reason", report.sentence),
        ("evidence", report.evidence.level.value),
        ("serving_binaries", labels),
    ):
        blessing.set_string_custom_property(key, text[:_LONGEST_PROPERTY])


def warmed_copy(blessing: types.Artifact, model: str, scratch: str) -> WarmedCopy:
    """Where the model with its warm-up file is to lie, so that servers can load it before it is blessed.

    Args:
      blessing: the artifact; the copy lies in it where both it and the model are on this machine.
      model: the SavedModel directory, or the URI that a server reads it from.
      scratch: a local directory that may be written to.
    """
    stamped = path_utils.stamped_model_path(blessing.uri).removeprefix("file://")
    if "://" in model:
        return _RemoteWarmedCopy(stamped, scratch)
    if "://" in stamped:
        return LocalWarmedCopy(os.path.join(scratch, "warmed_model"), model)
    return LocalWarmedCopy(stamped, model)


def keep_warmed_model(blessing: types.Artifact, warmed: WarmedCopy) -> None:
    """Have the blessed model with its warm-up file where the Pusher looks for it."""
    stamped: str = path_utils.stamped_model_path(blessing.uri)
    if warmed.path != stamped.removeprefix("file://"):
        with _writing(stamped):
            io_utils.copy_dir(warmed.path, stamped)
    blessing.set_int_custom_property("has_model", 1)
    warmed.keep()


class _RemoteWarmedCopy(WarmedCopy):
    """The copy of a model in a remote store, made in the artifact: the servers read models from there themselves."""

    def __init__(self, path: str, scratch: str) -> None:
        self.path = path
        self._scratch = scratch

    def write(self, model: str, write_requests: Callable[[str], None], go_on: Callable[[], None]) -> str:
        local_file = os.path.join(self._scratch, "tf_serving_warmup_requests")
        write_requests(local_file)
        go_on()
        with _writing(self.path):
            io_utils.copy_dir(model, self.path)
            io_utils.copy_file(local_file, path_utils.warmup_file_path(self.path), overwrite=True)
        return ""

    def digest(self, go_on: Callable[[], None]) -> str:
        return ""

    def remove(self) -> None:
        with contextlib.suppress(Exception):  # every file system behind fileio has its own
            fileio.rmtree(self.path)


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # every file system behind fileio has its own
        raise InfrastructureError(ReasonCode.OUTPUT_NOT_WRITABLE, f"{path}: {error}") from error


def mark(blessing: types.Artifact, blessed: bool) -> None:
    """Mark the artifact. Called last: a blessing that was not finished is none."""
    name = "INFRA_BLESSED" if blessed else "INFRA_NOT_BLESSED"
    io_utils.write_string_file(os.path.join(blessing.uri, name), "")
    blessing.set_int_custom_property("blessed", int(blessed))


def _file_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", label).strip("_") or "server"
