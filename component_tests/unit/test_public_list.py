"""The public list is what it is said to be, and importing the package costs nothing."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

import infra_validator

HEAVY = ("tensorflow", "tfx", "docker", "kubernetes", "grpc", "google.protobuf", "yaml", "numpy")


def test_every_public_name_can_be_had_and_nothing_else_is_promised() -> None:
    for name in infra_validator.__all__:
        assert getattr(infra_validator, name) is not None
    assert dir(infra_validator) == sorted(infra_validator.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(infra_validator, "no_such_name")


@pytest.mark.parametrize("family", ["model_server_clients", "model_server_runners", "serving_binaries"])
def test_a_family_hands_on_its_public_names(family: str) -> None:
    folder = importlib.import_module(f"infra_validator.{family}")
    for name in folder.__all__:
        assert getattr(folder, name).__name__ == name
    assert not hasattr(folder, "no_such_name")


@pytest.mark.parametrize("folder", ["", ".model_server_clients", ".model_server_runners", ".serving_binaries"])
def test_importing_a_folder_imports_nothing_heavy(folder: str) -> None:
    code = f"import sys, infra_validator{folder}; print([name for name in {HEAVY!r} if name in sys.modules])"
    measured = ("PYTHONPATH", "COVERAGE_PROCESS_START")  # measuring imports more
    plain = {name: value for name, value in os.environ.items() if name not in measured}
    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_imports_neither_a_platform_nor_what_only_some_validations_need() -> None:
    """Every module here would be paid for by every validation before its server is started."""
    platforms = (
        "tensorflow",
        "tfx",
        "docker",
        "kubernetes",
        "grpc",
        "numpy",
        "yaml",
        "http",
        "ssl",
        "asyncio",
        "subprocess",
    )
    rare = ("difflib", "ipaddress", "platform", "zipfile", "google.protobuf.text_format")
    code = f"""
import sys, urllib.parse, google.protobuf.internal.builder
theirs = {{"ipaddress", "google.protobuf.text_format"}} & set(sys.modules)  # Python 3.12 and protobuf 7 import them by themselves
import infra_validator.cli.validate
print([name for name in {platforms + rare!r} if name in sys.modules and name not in theirs])
"""
    measured = ("PYTHONPATH", "COVERAGE_PROCESS_START")  # measuring imports more
    plain = {name: value for name, value in os.environ.items() if name not in measured}
    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
