"""One report of the parts of a fleet that were validated on several machines."""

from __future__ import annotations

import json
import os
import pathlib
import posixpath
from collections.abc import Sequence
from typing import Any

from infra_validator.core.errors import UsageError
from infra_validator.fleet.fleet_report import FLEET_FILE, FleetReport, ModelLine, lines_from


def merged(directories: Sequence[str], output: str | None) -> FleetReport:
    """The report of all parts.

    Args:
      directories: each has a part's ``fleet.json``, or is the path of one.
      output: the directory where the report will lie, so that its links lead to the parts' reports; None: the working directory.

    Raises:
      UsageError: a part cannot be read, or two of them tell of one model, or they are parts of different wholes.
    """
    start = os.path.abspath(output or ".")
    told = [_read(directory) for directory in directories]
    of = told[0][1]["shard"]["of"]
    lines: dict[str, ModelLine] = {}
    parts: set[int] = set()
    for path, part in told:
        if part["shard"]["of"] != of:
            raise UsageError(f"{path}: it is a part of {part['shard']['of']}, {told[0][0]} a part of {of}.")
        if of > 1 and part["shard"]["index"] in parts:
            raise UsageError(f"{path}: part {part['shard']['index']} of {of} is given twice.")
        parts.add(part["shard"]["index"])
        base = os.path.relpath(path.parent.resolve(), start)
        for line in lines_from(part["models"]):
            if line.name in lines:
                raise UsageError(f"{path}: the model {line.name!r} is in another part, too.")
            report = posixpath.join(base, line.report) if line.report else ""
            lines[line.name] = ModelLine(**{**line.__dict__, "report": report})
    missing = tuple(sorted(set(range(1, of + 1)) - parts))
    return FleetReport(
        tuple(lines[name] for name in sorted(lines)),
        min(part["started_at"] for _, part in told),
        max(part["seconds"] for _, part in told),
        sum(part["at_once"] for _, part in told),
        (1, 1),
        missing,
    )


def _read(directory: str) -> tuple[pathlib.Path, dict[str, Any]]:
    path = pathlib.Path(directory)
    path = path / FLEET_FILE if path.is_dir() else path
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        lines_from(told["models"])
        for number in (told["shard"]["index"], told["shard"]["of"], told["at_once"]):
            if not 1 <= int(number) <= 1_000_000:
                raise ValueError(number)
        float(told["seconds"]), str(told["started_at"])
    except OSError as error:
        raise UsageError(f"{path}: it cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsageError(f"{path}: it is no {FLEET_FILE} of infra-validator.") from error
    return path, told
