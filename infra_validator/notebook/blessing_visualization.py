"""A blessing in a notebook: ``context.show(validator.outputs["blessing"])`` of TFX's InteractiveContext shows its report."""

from __future__ import annotations

import json
import os

from tfx import types
from tfx.dsl.io import fileio
from tfx.orchestration.experimental.interactive import visualizations
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from infra_validator.report.formats.html.page import framed


class InfraBlessingVisualization(visualizations.ArtifactVisualization):  # type: ignore[misc]
    """The report of the ``verdict.json`` in an InfraBlessing."""

    ARTIFACT_TYPE = standard_artifacts.InfraBlessing

    def display(self, artifact: types.Artifact) -> None:
        """Show it. Called by ``InteractiveContext.show``."""
        from IPython.display import HTML, display

        display(HTML(html_of(artifact)))


def html_of(artifact: types.Artifact) -> str:
    """What is shown of a blessing; a sentence where it holds no report, as TFX's own component makes them."""
    path = os.path.join(artifact.uri, "verdict.json")
    try:
        verdict = json.loads(io_utils.read_string_file(path)) if fileio.exists(path) else None
    except ValueError:
        verdict = None
    if not isinstance(verdict, dict):
        return "<p>This blessing holds no report: there is no readable <code>verdict.json</code> in it.</p>"
    return framed(verdict)


def register() -> None:
    """Make it known to TFX."""
    visualizations.get_registry().register(InfraBlessingVisualization)
