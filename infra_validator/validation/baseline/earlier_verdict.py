"""An earlier verdict as a baseline: the load runs that ``verdict.json`` holds."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from infra_validator.core.errors import SpecError, UsageError
from infra_validator.report.signatures import Signature, Signatures, signatures_in
from infra_validator.specs.limits.load_spec import LoadMode, LoadSpec
from infra_validator.specs.reader import above_zero, not_negative, one_of, read, spec_field
from infra_validator.validation.load.histogram import Latencies, decode

FIELD = "validation_spec.baseline_verdict"

_HOW = "Name the verdict.json of a validation with validation_spec.load, which measured what is compared."


@dataclasses.dataclass(frozen=True)
class EarlierWindow:
    """One window of a load run, as ``verdict.json`` has it."""

    seconds: float = spec_field(0.0, "How long it is.", check=not_negative)
    requests: int = spec_field(0, "How many were answered.", check=not_negative)
    warm_up: bool = spec_field(False, "Whether it does not count.")


@dataclasses.dataclass(frozen=True)
class EarlierRun:
    """One load run, as ``verdict.json`` has it."""

    signature: str = spec_field("", "The signature.")
    batch_size: int | None = spec_field(None, "The rows of each request.", check=above_zero)
    mode: str = spec_field("closed", "The mode.", check=one_of(*(mode.value for mode in LoadMode)))
    concurrency: int | None = spec_field(None, "The callers.")
    rate_rps: float | None = spec_field(None, "The rate.", unit="requests per second")
    seconds: float = spec_field(0.0, "How long was measured.", check=above_zero)
    requests: int = spec_field(0, "How many were answered.", check=above_zero)
    histogram: str = spec_field("", "The latencies.")
    windows: tuple[EarlierWindow, ...] = spec_field((), "In order.")

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError where the latencies cannot be read."""
        try:
            latencies = decode(self.histogram, f"{path}.histogram")
        except UsageError as error:
            raise SpecError(f"{path}.histogram", error.detail, next_step=_HOW) from error
        object.__setattr__(self, "_latencies", latencies)

    @property
    def latencies(self) -> Latencies:
        """What the histogram holds."""
        found: Latencies = getattr(self, "_latencies")  # noqa: B009 - set once, by check
        return found

    @property
    def how(self) -> tuple[str, int | None, float | None]:
        """How it was loaded."""
        return self.mode, self.concurrency, self.rate_rps


@dataclasses.dataclass(frozen=True)
class EarlierVerdict:
    """What a ``verdict.json`` says of one serving binary after the other.

    Attributes:
      path: the file.
      signatures: the model's; empty where it holds none.
      runs: label of the serving binary -> its load runs.
      memory: label -> the most memory that its server took under load, in bytes.
    """

    path: str
    signatures: Signatures
    runs: Mapping[str, tuple[EarlierRun, ...]]
    memory: Mapping[str, int]

    def label_for(self, label: str) -> str:
        """The serving binary to compare with: that of the same label, else the only one; empty where neither is there."""
        if label in self.runs:
            return label
        return next(iter(self.runs)) if len(self.runs) == 1 else ""


def read_verdict(path: str, load: LoadSpec) -> EarlierVerdict:
    """The verdict in a file, or in a directory (a blessing, an --output) that holds ``verdict.json``.

    Args:
      path: the file or the directory.
      load: how this validation loads its server; what was loaded otherwise is no measure.

    Raises:
      SpecError: it cannot be read, holds no load runs, or was measured otherwise; names the field in the file.
    """
    file = os.path.join(path, "verdict.json") if os.path.isdir(path) else path
    given = _parsed(file)
    where = f"{FIELD} ({file})"
    runs: dict[str, tuple[EarlierRun, ...]] = {}
    memory: dict[str, int] = {}
    for index, binary in enumerate(_list(given, "serving_binaries", where)):
        inside = f"{where}.serving_binaries[{index}]"
        attempts = _list(binary, "attempts", inside)
        measured = attempts[-1].get("measurements") if attempts and isinstance(attempts[-1], Mapping) else None
        if not isinstance(measured, Mapping):
            continue
        inside = f"{inside}.attempts[{len(attempts) - 1}].measurements"
        found = tuple(
            _run(one, f"{inside}.load[{number}]") for number, one in enumerate(_list(measured, "load", inside))
        )
        label = str(binary.get("label", ""))
        if found:
            runs[label] = found
        peak = measured["memory"].get("under_load_peak_bytes") if isinstance(measured.get("memory"), Mapping) else None
        if isinstance(peak, int) and not isinstance(peak, bool) and peak > 0:
            memory[label] = peak
    if not runs:
        raise SpecError(FIELD, f"{file!r} holds no measurements of a server under load", next_step=_HOW)
    for run in (run for found in runs.values() for run in found):
        _check_alike(run, load, file)
    signatures: Mapping[str, Signature] = signatures_in(given, where) if given.get("signatures") else {}
    return EarlierVerdict(file, signatures, runs, memory)


def _check_alike(run: EarlierRun, load: LoadSpec, file: str) -> None:
    closed = load.mode is LoadMode.CLOSED
    now = (load.mode.value, load.concurrency if closed else None, None if closed else load.rate_rps)
    if run.how != now:
        was, wanted = (
            ", ".join(f"{name} {value}" for name, value in zip(("mode", "concurrency", "rate_rps"), how, strict=True) if value)
            for how in (run.how, now)
        )  # fmt: skip
        raise SpecError(
            FIELD,
            f"{file!r} was measured with another load ({was}) than validation_spec.load asks for ({wanted})",
            next_step="Load both in the same way.",
        )


def _run(given: object, where: str) -> EarlierRun:
    if not isinstance(given, Mapping):
        raise SpecError(where, "must be an object with named fields")
    known = {field.name for field in dataclasses.fields(EarlierRun)}
    fields = {name: value for name, value in given.items() if name in known}
    windows = {field.name for field in dataclasses.fields(EarlierWindow)}
    if isinstance(fields.get("windows"), list):
        fields["windows"] = [
            {name: value for name, value in window.items() if name in windows}
            if isinstance(window, Mapping)
            else window
            for window in fields["windows"]
        ]
    return read(EarlierRun, fields, where)


def _list(given: object, field: str, where: str) -> list[Any]:
    found = given.get(field) if isinstance(given, Mapping) else None
    if not isinstance(found, list):
        raise SpecError(f"{where}.{field}", "is no list", next_step=_HOW)
    return found


def _parsed(file: str) -> Mapping[str, Any]:
    try:
        if os.path.exists(file) and not os.path.isfile(file):
            raise SpecError(FIELD, f"{file!r} is no regular file", next_step=_HOW)
        with open(file, encoding="utf-8") as opened:
            given = json.load(opened)
    except SpecError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no JSON"
        raise SpecError(FIELD, f"cannot read {file!r}: {why}", next_step=_HOW) from error
    if not isinstance(given, Mapping) or "verdict" not in given:
        raise SpecError(FIELD, f"{file!r} is no verdict of infra-validator", next_step=_HOW)
    return given
