"""The page in a notebook: in a frame of its own, so that its style and the notebook's do not meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra_validator.report.formats.html.markup import element
from infra_validator.report.formats.html.page import html

_HEIGHT = 720  # pixels


def framed(verdict: Mapping[str, Any]) -> str:
    """``report.html`` of a verdict as a frame that may run the page's own script and do nothing else."""
    frame = element(
        "iframe",
        srcdoc=html(verdict),
        sandbox="allow-scripts",
        title="Report of an infrastructure validation",
        width="100%",
        height=_HEIGHT,
        frameborder="0",
    )
    return element("div", frame)  # IPython warns of a text that begins with a frame
