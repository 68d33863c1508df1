"""docs/extending.md: its specs are read, its code is the example package's, its names are there."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest

import infra_validator.testing.contracts as contracts
from component_tests.component.extending.conftest import PACKAGE
from component_tests.fakes.saved_models import ROOT
from infra_validator import RequestSpec, ServingSpec, ValidationSpec
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner
from infra_validator.specs import extensions

GUIDE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SPECS: dict[str, Any] = {"serving_spec": ServingSpec, "request_spec": RequestSpec, "validation_spec": ValidationSpec}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def test_its_specs_are_read(acme: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(acme)
    named = []
    for text in blocks("yaml"):
        name = text.split("\n")[0].removeprefix("# ")
        SPECS[name].of(text)
        named.append(name)
    assert named == list(SPECS)


def test_its_code_is_the_packages() -> None:
    quoted = blocks("python")
    assert len(quoted) >= 6
    for text in quoted:
        place, _, code = text.partition("\n")
        file = (PACKAGE / place.removeprefix("# ")).read_text(encoding="utf-8")
        assert code.rstrip() in file, place
    (points,) = blocks("toml")
    assert points.rstrip() in (PACKAGE / "pyproject.toml").read_text(encoding="utf-8")


def test_every_group_and_contract_and_method_is_told() -> None:
    for group in extensions.GROUPS:
        assert f"`{group}`" in GUIDE
    for name in contracts.__all__:
        if name.endswith("Contract"):
            assert f"| `{name}` |" in GUIDE
    for method in re.findall(r"^\| `(_?\w+)\(", GUIDE, re.MULTILINE):
        assert hasattr(BaseModelServerRunner, method), method
