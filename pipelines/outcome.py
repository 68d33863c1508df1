"""What a run of the demo pipeline has left on disk: the newest blessing and what was pushed."""

from __future__ import annotations

import dataclasses
import json
import pathlib

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The newest InfraBlessing and PushedModel artifacts of a metadata store.

    Attributes:
      blessed: whether the artifact's mark file and its property say so; they must agree.
      reason_code: of the artifact's verdict.json.
      report: the page for people in the blessing.
      pushed_to: the directory that holds the pushed model; None if none was pushed.
    """

    blessed: bool
    reason_code: str
    report: pathlib.Path
    pushed_to: pathlib.Path | None

    def line(self) -> str:
        """The outcome in one line."""
        pushed = f"pushed to {self.pushed_to}" if self.pushed_to else "not pushed"
        return f"blessed: {pushed}" if self.blessed else f"not blessed: {self.reason_code}, {pushed}"


def read_outcome(metadata_file: pathlib.Path) -> Outcome:
    """Read the outcome of the newest run.

    Raises:
      LookupError: the store has no such artifacts, or what they say and what is on disk differ.
    """
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(metadata_file)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    store = metadata_store.MetadataStore(config)
    blessing = _newest(store, "InfraBlessing")
    directory = pathlib.Path(blessing.uri)
    marked = (directory / "INFRA_BLESSED").exists(), (directory / "INFRA_NOT_BLESSED").exists()
    blessed = blessing.custom_properties["blessed"].int_value == 1
    if marked != (blessed, not blessed):
        raise LookupError(f"The property and the files of {directory} differ.")
    verdict = json.loads((directory / "verdict.json").read_text())
    pushed = _newest(store, "PushedModel").custom_properties
    target = pathlib.Path(pushed["pushed_destination"].string_value) if pushed["pushed"].int_value == 1 else None
    if target is not None and not (target / "saved_model.pb").exists():
        raise LookupError(f"There is no model in {target}.")
    report = directory / "report.html"
    if not report.exists():
        raise LookupError(f"There is no report in {directory}.")
    return Outcome(blessed, verdict["reason_code"], report, target)


def _newest(store: metadata_store.MetadataStore, type_name: str) -> metadata_store_pb2.Artifact:
    artifacts = store.get_artifacts_by_type(type_name)
    if not artifacts:
        raise LookupError(f"The pipeline has left no {type_name} artifact.")
    return max(artifacts, key=lambda artifact: artifact.id)
