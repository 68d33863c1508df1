"""The tables in the docs are what the code says, and every reason code can be told to a person."""

from __future__ import annotations

import pathlib
import re
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


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_file_that_is_named_is_there(document: str) -> None:
    """A path in backticks is relative to the repository, to the package, or to a folder of the package named beside it."""
    named = re.findall(r"`([\w./]+/[\w./]*|[\w./]+\.(?:py|md|toml))`", (ROOT / document).read_text())
    folders = [
        ROOT,
        ROOT / "infra_validator",
        *(ROOT / "infra_validator").glob("*/"),
        *(ROOT / "infra_validator").glob("*/*/"),
    ]
    missing = [name for name in named if not any((folder / name).exists() for folder in folders)]
    assert missing == []
