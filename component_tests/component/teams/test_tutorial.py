"""The tutorial, done: its files are written and its commands run in order, in a directory where nothing was."""

from __future__ import annotations

import json
import pathlib
import re

import pytest

from component_tests.component.teams.ci_job import Checkout, checkout, environment_of
from component_tests.fakes.saved_models import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
_BLOCK = re.compile(r"^```(\w+)(?: title=\"([\w.]+)\")?\n(.*?)^```$", re.M | re.S)


def do(where: Checkout, section: str) -> str:
    """Write the files and run the commands of one section; what they printed. A command that fails fails the test."""
    text = re.split(r"^## ", TUTORIAL, flags=re.M)[int(section)]
    assert text.startswith(f"{section}. ")
    printed = ""
    for language, file, block in _BLOCK.findall(text):
        if file:
            (where.directory / file).write_text(block)
        else:
            assert language == "sh"
            done = where.run(["bash", "-euo", "pipefail", "-c", block], environment_of())
            printed += done.stdout + done.stderr
            assert done.returncode == 0, printed
    return printed


def test_from_nothing_to_a_gated_pipeline(tmp_path: pathlib.Path) -> None:
    where = checkout(tmp_path)
    do(where, "1")
    assert where.installed() == ["infra-validator[embedded,load,cli]"]
    do(where, "2")
    loaded = do(where, "3")
    assert "BLESSED" in loaded
    assert "no request was sent" in loaded
    do(where, "4")
    report = where.directory / "report"
    assert json.loads((report / "verdict.json").read_text())["evidence"]["level"] == "ANSWERED"
    assert (report / "report.html").is_file()
    broken = do(where, "5")
    assert "ANSWER_NOT_FINITE" in broken
    assert "exit code 1" in broken
    assert "BLESSED" in do(where, "6")
    gated = do(where, "7")
    assert "not pushed" in gated.splitlines()
    (pushed,) = (where.directory / "serving" / "fare").iterdir()
    assert (pushed / "saved_model.pb").is_file()
