"""The published schema of ``verdict.json``, held against every verdict that the tests make."""

from __future__ import annotations

import functools
import importlib.resources
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest


@functools.cache
def schema() -> dict[str, Any]:
    """The schema as it is published."""
    text = (
        importlib.resources.files("infra_validator.report").joinpath("verdict.schema.json").read_text(encoding="utf-8")
    )
    found: dict[str, Any] = json.loads(text)
    return found


@functools.cache
def _validator(closed: bool) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(_closed(schema()) if closed else schema())


def check(verdict: Any, *, closed: bool = False) -> None:
    """Fail where a verdict is not as the schema says.

    Args:
      verdict: the data of a ``verdict.json``.
      closed: whether fields that the schema does not name are wrong, too.
    """
    errors = [f"{error.json_path}: {error.message[:300]}" for error in _validator(closed).iter_errors(verdict)]
    assert not errors, "\n".join(errors)


@pytest.fixture(autouse=True)
def verdicts_follow_the_schema(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every ``verdict.json`` that a test has written (OutputDirectory, the blessing, a pipeline), looked at when the test is done."""
    directory: pathlib.Path | None = None
    if "tmp_path" in request.fixturenames:
        directory = request.getfixturevalue("tmp_path")
    yield
    for file in () if directory is None else directory.rglob("verdict.json"):
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):  # a test of files that are none
            continue
        if isinstance(told, dict) and str(told.get("tool", "")).startswith("infra-validator "):
            check(told)


def _closed(value: Any) -> Any:
    """The schema with every object closed."""
    if isinstance(value, dict):
        inside = {key: _closed(one) for key, one in value.items()}
        if "properties" in inside and inside.get("type") == "object":
            inside.setdefault("additionalProperties", False)
        return inside
    return [_closed(one) for one in value] if isinstance(value, list) else value
