"""What a fleet keeps on disk: a directory for each model, and the report of all; whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from infra_validator._version import __version__
from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.fleet.fleet_report import FLEET_FILE, FleetReport
from infra_validator.fleet.formats import FLEET_FORMATS
from infra_validator.fleet.model_list import FleetModel
from infra_validator.report.output_directory import OutputDirectory
from infra_validator.report.verdict import ValidationReport, Verdict
from infra_validator.saved_model.digest import content_of, model_digest
from infra_validator.specs.named_files import named_files
from infra_validator.specs.reader import to_json

_MODELS = "models"
_FINGERPRINT = "fingerprint"
_VERDICT = "verdict.json"


class KeptFleet:
    """The ``--output`` directory of a fleet.

    Args:
      directory: made if needed; an earlier report of the whole is removed now.

    Raises:
      InfrastructureError: it cannot be written to (OUTPUT_NOT_WRITABLE).
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = pathlib.Path(directory)
        try:
            (self._directory / _MODELS).mkdir(parents=True, exist_ok=True)
            for name in (FLEET_FILE, *(form.file for form in FLEET_FORMATS.values())):
                (self._directory / name).unlink(missing_ok=True)
            trial = self._directory / f".trial-{os.getpid()}"
            trial.write_bytes(b"x" * 4096)
            trial.unlink()
        except OSError as error:
            raise self._not_writable(error) from error

    def verdict_of(self, model: FleetModel, fingerprint: str) -> Mapping[str, Any] | None:
        """The verdict that is there for exactly this model, its specs and its requests; None if there is none that decides."""
        directory = self._of(model)
        with contextlib.suppress(OSError, ValueError):
            if not fingerprint or (directory / _FINGERPRINT).read_text(encoding="utf-8") != fingerprint:
                return None
            told = json.loads((directory / _VERDICT).read_text(encoding="utf-8"))
            if told["verdict"] in (Verdict.BLESSED.value, Verdict.NOT_BLESSED.value):
                return {**told, "model": model.model}
        return None

    def begin(self, model: FleetModel) -> OutputDirectory:
        """The model's own directory, emptied of an earlier verdict.

        Raises:
          UsageError, InfrastructureError: as OutputDirectory.
        """
        try:
            (self._of(model) / _FINGERPRINT).unlink(missing_ok=True)
        except OSError as error:
            raise self._not_writable(error) from error
        return OutputDirectory(str(self._of(model)), model.model)

    def seal(self, model: FleetModel, report: ValidationReport, fingerprint: str) -> None:
        """Have a later run know the verdict by what it was given for. Comes after the verdict was written."""
        judged = report.verdict is not Verdict.INCONCLUSIVE
        if fingerprint and judged and fingerprint_of(model) == fingerprint:
            with contextlib.suppress(OSError):  # the verdict is there; at worst it is found again
                _write(self._of(model) / _FINGERPRINT, fingerprint)

    def report_of(self, model: FleetModel) -> str:
        """The path of the model's ``verdict.json``, seen from this directory; empty if it is not there."""
        path = self._of(model) / _VERDICT
        return path.relative_to(self._directory).as_posix() if path.is_file() else ""

    def write(self, report: FleetReport) -> None:
        """Write the report of all, ``fleet.json`` last.

        Raises:
          InfrastructureError: there is no room any more (OUTPUT_NOT_WRITABLE).
        """
        try:
            told = report.to_dict()
            for form in FLEET_FORMATS.values():
                _write(self._directory / form.file, form.make(told))
            _write(self._directory / FLEET_FILE, report.to_json())
        except OSError as error:
            raise self._not_writable(error) from error

    def _of(self, model: FleetModel) -> pathlib.Path:
        return self._directory / _MODELS / model.name

    def _not_writable(self, error: OSError) -> InfrastructureError:
        detail = f"--output {self._directory}: {error.strerror or error}."
        return InfrastructureError(ReasonCode.OUTPUT_NOT_WRITABLE, detail)


def fingerprint_of(model: FleetModel) -> str:
    """``<the model's digest> <a digest of what it is held against>``: specs, the files that they name, requests, this package's version.
    Empty where the model cannot be read here: then nothing is known to be the same."""
    if "://" in model.model:
        return ""
    own = model.shared
    specs = {"serving": own.serving_spec, "validation": own.validation_spec, "request": own.request_spec}
    files = named_files(**specs)
    if own.requests is not None:
        files["requests"] = own.requests
    try:
        digest = model_digest(model.model)
        found = {name: content_of(path).hex() for name, path in files.items()}
    except (AttemptFailed, InfrastructureError):
        return ""
    told = {"specs": {name: to_json(spec) for name, spec in specs.items()}, "files": found, "version": __version__}
    return f"{digest} sha256:{hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()}"


def _write(path: pathlib.Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(text, encoding="utf-8", errors="replace")
    unfinished.replace(path)
