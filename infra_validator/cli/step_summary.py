"""The summary page of a job on GitHub Actions: ``validate`` adds its verdict to it."""

from __future__ import annotations

import os
import sys

from infra_validator.report.formats.every_format import FORMATS
from infra_validator.report.verdict import ValidationReport

_VARIABLE = "GITHUB_STEP_SUMMARY"


def add_to_step_summary(report: ValidationReport) -> None:
    """Append the verdict as Markdown; see :func:`add_text_to_step_summary`."""
    if os.environ.get(_VARIABLE):
        add_text_to_step_summary(FORMATS["markdown"].of_one(report.to_dict()))


def add_text_to_step_summary(markdown: str) -> None:
    """Append Markdown to the file that GITHUB_STEP_SUMMARY names, where it is set. A file that cannot be written to is told on stderr
    and changes nothing else."""
    path = os.environ.get(_VARIABLE)
    if not path:
        return
    try:
        with open(path, "a", encoding="utf-8", errors="replace") as summary:
            summary.write(markdown + "\n")
    except OSError as error:
        print(f"infra-validator: {_VARIABLE} ({path}) cannot be written to: {error.strerror}.", file=sys.stderr)
