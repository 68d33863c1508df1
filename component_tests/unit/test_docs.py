"""The tables in the docs are what the code says, and every ready config is loadable and named."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import pytest

from infra_validator.reason_codes import Blames, ReasonCode
from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec

ROOT = pathlib.Path(__file__).parents[2]
SPECS: dict[str, Any] = {"serving": ServingSpec, "validation": ValidationSpec, "request": RequestSpec}


def test_the_tables_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "write_docs.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("code", list(ReasonCode), ids=lambda code: code.name)
def test_every_reason_is_a_sentence_with_a_next_step(code: ReasonCode) -> None:
    assert code.sentence.endswith(".")
    assert code.next_step
    assert code.blames in Blames


def specs_in_configs() -> list[pathlib.Path]:
    return sorted(path for kind in SPECS for path in (ROOT / "configs").glob(f"{kind}/*"))


@pytest.mark.parametrize("path", specs_in_configs(), ids=lambda path: path.name)
def test_a_ready_config_is_a_spec_and_is_named_in_the_readme(path: pathlib.Path) -> None:
    SPECS[path.parent.name].of(str(path))
    assert f"configs/{path.parent.name}/{path.name}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_there_are_configs() -> None:
    assert len(specs_in_configs()) >= 6
