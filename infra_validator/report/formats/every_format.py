"""The formats of a report by name: what each makes of one verdict and of several, and the file that it is kept in."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infra_validator.report.formats.html.history import html_of_several
from infra_validator.report.formats.html.page import html
from infra_validator.report.formats.junit import junit, junit_of_several
from infra_validator.report.formats.markdown import markdown, markdown_of_several

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
      file: the name of the file beside ``verdict.json``.
      of_one: makes it of a verdict's data.
      of_several: makes it of several: (a name for the verdict, its data).
    """

    file: str
    of_one: Callable[[Mapping[str, Any]], str]
    of_several: Callable[[Sequence[tuple[str, Mapping[str, Any]]]], str]


FORMATS = {
    "html": Format("report.html", html, html_of_several),
    "junit": Format("junit.xml", junit, junit_of_several),
    "markdown": Format("summary.md", markdown, markdown_of_several),
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
