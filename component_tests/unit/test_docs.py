"""The tables in the docs are what the code says, and every reason code can be told to a person."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from infra_validator.core.reason_codes import Blames, ReasonCode

ROOT = pathlib.Path(__file__).parents[2]


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
