"""``--output`` and ``--verdict-file``: the verdict, its reports and the servers' logs of the last run, and of no earlier one."""

from __future__ import annotations

import os
import pathlib
import re

from infra_validator.core.errors import InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.formats.every_format import FORMATS, files_of
from infra_validator.report.verdict import ValidationReport, Verdict

_VERDICT = "verdict.json"
_REPORTS = "|".join(re.escape(form.file) for form in FORMATS.values())
_OURS = re.compile(rf"\.?verdict\.json|{_REPORTS}|\.trial-\d+|server-\d+-attempt-\d+\.log")


class OutputDirectory:
    """A directory that is made, tried and emptied of earlier results now, so that no validation is spent on a result that cannot be
    kept, and no old verdict outlives a run that ends without one.

    Args:
      given: the directory; what others put there stays.
      model: the model's directory; its content is not to be changed.

    Raises:
      UsageError: it lies in the model.
      InfrastructureError: it cannot be written to (OUTPUT_NOT_WRITABLE).
    """

    def __init__(self, given: str, model: str) -> None:
        self._directory = pathlib.Path(given)
        inside, around = os.path.realpath(given), os.path.realpath(model)
        if model and os.path.isdir(around) and os.path.commonpath([inside, around]) == around:
            raise UsageError(
                f"--output {given} lies in the model {model}, which must not change while it is validated.",
                next_step="Name a directory outside the model.",
            )
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._remove_earlier_results()
            trial = self._directory / f".trial-{os.getpid()}"
            trial.write_bytes(b"x" * 4096)
            trial.unlink()
        except OSError as error:
            raise _not_writable(given, error) from error

    def _remove_earlier_results(self) -> None:
        earlier = [name for name in os.listdir(self._directory) if _OURS.fullmatch(name)]
        for name in sorted(earlier, key=lambda name: name != _VERDICT):  # the verdict first: the rest claims nothing
            (self._directory / name).unlink()

    @property
    def report_path(self) -> str:
        """Where people find the report; empty where there is none."""
        files = (self._directory / name for name in ("report.html", _VERDICT))
        return next((str(file) for file in files if file.exists()), "")

    def write(self, report: ValidationReport) -> None:
        """Write the logs and the reports, then the verdict, at once: who finds a verdict finds all of it.

        Raises:
          InfrastructureError: there is no room any more (OUTPUT_NOT_WRITABLE); says what the verdict was.
        """
        try:
            for index, binary in enumerate(report.serving_binaries):
                for attempt in binary.attempts:
                    log = self._directory / f"server-{index}-attempt-{attempt.number}.log"
                    log.write_text(attempt.server_log, encoding="utf-8", errors="replace")
            for name, text in files_of(report.to_dict()).items():
                (self._directory / name).write_text(text, encoding="utf-8", errors="replace")
            unfinished = self._directory / f".{_VERDICT}"
            unfinished.write_text(report.to_json(), encoding="utf-8", errors="replace")
            unfinished.replace(self._directory / _VERDICT)
        except OSError as error:
            was = f" The verdict was {report.verdict.value} ({report.finding.reason.name})."
            raise _not_writable(str(self._directory), error, was) from error


def _not_writable(given: str, error: OSError, more: str = "") -> InfrastructureError:
    return InfrastructureError(ReasonCode.OUTPUT_NOT_WRITABLE, f"--output {given}: {error.strerror or error}.{more}")


def remove_verdict_file(path: str) -> None:
    """Remove ``--verdict-file``: an earlier run's verdict is not this one's."""
    try:
        pathlib.Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise _verdict_file_error(path, error) from error


def write_verdict_file(path: str, verdict: Verdict) -> None:
    """Write ``--verdict-file``.

    Raises:
      InfrastructureError: it cannot be written (OUTPUT_NOT_WRITABLE).
    """
    try:
        file = pathlib.Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(verdict.value, encoding="utf-8")
    except OSError as error:
        raise _verdict_file_error(path, error) from error


def _verdict_file_error(path: str, error: OSError) -> InfrastructureError:
    return InfrastructureError(ReasonCode.OUTPUT_NOT_WRITABLE, f"--verdict-file {path}: {error.strerror or error}.")
