"""The notebook, executed by a real kernel; it is committed without outputs."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import nbclient
import nbformat
import pytest

from component_tests.fakes.saved_models import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

NOTEBOOK = ROOT / "pipelines" / "notebook" / "from_model_to_verdict.ipynb"


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert [cell for cell in code_cells(notebook) if cell.outputs or cell.execution_count] == []


def test_its_cells_run_and_show_the_verdicts(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        f'{{"argv": ["{sys.executable}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"],'
        ' "display_name": "Python 3", "language": "python"}'
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    _, good, bad, both, asked = code_cells(notebook)
    for cell, word in ((good, "Blessed"), (bad, "ANSWER_NOT_FINITE")):
        (shown,) = [output.data["text/html"] for output in cell.outputs if "text/html" in output.get("data", {})]
        assert word in shown
    assert both.outputs[0].data["text/plain"] == "('BLESSED', 'NOT_BLESSED', 'ANSWER_NOT_FINITE')"
    assert "14.5" in "".join(output.get("text", "") for output in asked.outputs)
