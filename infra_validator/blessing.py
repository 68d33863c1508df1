"""What goes into the InfraBlessing artifact: the marks that the stock Pusher reads, and all that people and tools want to know.

<uri>/INFRA_BLESSED or INFRA_NOT_BLESSED   an empty file, as TFX writes it
<uri>/verdict.json                         the whole report
<uri>/logs/<serving binary>-attempt-<n>.log  the server's last lines in each attempt
<uri>/stamped_model/                       the model with its warm-up file, if request_spec.make_warmup
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from tfx import types
from tfx.dsl.io import fileio
from tfx.utils import io_utils, path_utils

from infra_validator.report.verdict import ValidationReport

_LONGEST_PROPERTY = 1000  # characters; MLMD's MySQL backend refuses very long strings


#: What an execution writes into the artifact; names under its URI, and custom properties.
_FILES = ("INFRA_BLESSED", "INFRA_NOT_BLESSED", "verdict.json", "logs", "stamped_model")
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
    """Write ``verdict.json`` and the servers' logs into the artifact, and name the reason in its properties."""
    io_utils.write_string_file(os.path.join(blessing.uri, "verdict.json"), report.to_json())
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


def write_warmup_model(
    blessing: types.Artifact, model: str, write_requests: Callable[[str], None], scratch: str
) -> None:
    """Put the model with a warm-up file into the artifact, where the Pusher looks for it.

    Args:
      blessing: the artifact.
      model: the SavedModel directory.
      write_requests: writes the warm-up file to a local path.
      scratch: a local directory that may be written to.
    """
    local_file = os.path.join(scratch, "tf_serving_warmup_requests")
    write_requests(local_file)
    stamped = path_utils.stamped_model_path(blessing.uri)
    io_utils.copy_dir(model, stamped)
    io_utils.copy_file(local_file, path_utils.warmup_file_path(stamped), overwrite=True)
    blessing.set_int_custom_property("has_model", 1)


def mark(blessing: types.Artifact, blessed: bool) -> None:
    """Mark the artifact. Called last: a blessing that was not finished is none."""
    name = "INFRA_BLESSED" if blessed else "INFRA_NOT_BLESSED"
    io_utils.write_string_file(os.path.join(blessing.uri, name), "")
    blessing.set_int_custom_property("blessed", int(blessed))


def _file_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", label).strip("_") or "server"
