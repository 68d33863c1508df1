"""The formats of a report by name: what each makes of one verdict and of several, and the file that it is kept in."""

from __future__ import annotations

import dataclasses
import importlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Format:
    """One format. Its module is imported when it is used: who only validates does not wait for it.

    Attributes:
      file: the name of the file beside ``verdict.json``.
      one: ``module:function`` (in this folder) that makes it of a verdict's data.
      several: the same for several verdicts: (a name for each, its data).
    """

    file: str
    one: str
    several: str

    def of_one(self, verdict: Mapping[str, Any]) -> str:
        """The report of one verdict."""
        return str(_function(self.one)(verdict))

    def of_several(self, verdicts: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        """One report of several verdicts: (a name for it, its data)."""
        return str(_function(self.several)(verdicts))


FORMATS = {
    "html": Format("report.html", "html.page:html", "html.history:html_of_several"),
    "junit": Format("junit.xml", "junit:junit", "junit:junit_of_several"),
    "markdown": Format("summary.md", "markdown:markdown", "markdown:markdown_of_several"),
}


def files_of(verdict: Mapping[str, Any]) -> dict[str, str]:
    """The text of each file that lies beside ``verdict.json``. A format that fails is no reason to be without the verdict and the
    others: its file is missing, and the log says why."""
    texts = {}
    for name, form in FORMATS.items():
        try:
            texts[form.file] = form.of_one(verdict)
        except Exception:
            _LOG.exception("The %s report could not be made.", name)
    return texts


def _function(named: str) -> Any:
    module, _, function = named.partition(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), function)
