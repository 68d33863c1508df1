"""The ready specs in configs/: each can be read, and the README names it."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec

ROOT = pathlib.Path(__file__).parents[3]
KINDS: dict[str, Any] = {"serving": ServingSpec, "validation": ValidationSpec, "request": RequestSpec}
FILES = sorted(path for kind in KINDS for path in (ROOT / "configs" / kind).iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_ready_spec_can_be_read_and_is_named(path: pathlib.Path) -> None:
    assert KINDS[path.parent.name].of(path)
    assert f"`{path.relative_to(ROOT)}`" in (ROOT / "README.md").read_text()
