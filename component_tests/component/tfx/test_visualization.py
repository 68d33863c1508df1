"""A blessing in TFX's notebook context: what ``context.show`` displays of it is the report, in a frame of its own."""

from __future__ import annotations

import html
import importlib
import json
import pathlib
import re
from typing import Any

import pytest

from component_tests.fakes import tfx_artifacts
from component_tests.fakes.rich_reports import rejected
from infra_validator.report.formats.html.page import html as page_of

pytestmark = pytest.mark.tfx


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What IPython is given to display."""
    import IPython.display

    given: list[Any] = []
    monkeypatch.setattr(IPython.display, "display", given.append)
    return given


def show(artifact: Any) -> None:
    """What ``InteractiveContext.show`` does with an artifact (interactive_context.py)."""
    from tfx.orchestration.experimental.interactive import visualizations

    importlib.import_module("infra_validator.component")
    visualizations.get_registry().get_visualization(artifact.type_name).display(artifact)


def test_a_blessing_is_shown_as_its_report(tmp_path: pathlib.Path, shown: list[Any]) -> None:
    from infra_validator import blessing

    artifact = tfx_artifacts.blessing_artifact(tmp_path / "blessing")
    blessing.write_report(artifact, rejected())
    written = sorted(path.name for path in (tmp_path / "blessing").iterdir())
    assert written == ["junit.xml", "logs", "report.html", "summary.md", "verdict.json"]
    show(artifact)
    (frame,) = shown
    (source,) = re.findall(r'srcdoc="([^"]*)"', frame.data)
    assert html.unescape(source) == page_of(json.loads(rejected().to_json()))
    assert 'sandbox="allow-scripts"' in frame.data
    blessing.clear(artifact)
    assert list((tmp_path / "blessing").iterdir()) == []


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_blessing_without_a_report_says_so(tmp_path: pathlib.Path, shown: list[Any], text: str | None) -> None:
    artifact = tfx_artifacts.blessing_artifact(tmp_path / "blessing")
    if text is not None:
        (tmp_path / "blessing" / "verdict.json").write_text(text)
    show(artifact)
    assert "no report" in shown[0].data
