"""What is said on a system that the package, or a part of it, is not for; and what macOS is promised imports without Linux."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from infra_validator.core.systems import LINUX, LINUX_AND_MACOS, why_not_here

ROOT = pathlib.Path(__file__).parents[2]

#: A stand-in for another system: its name, and without what only Linux has in the standard library.
_ELSEWHERE = """
import os, select, sys
sys.platform = {name!r}
for module, names in ((os, ("pidfd_open", "memfd_create", "sched_getaffinity", "eventfd", "posix_fadvise")), (select, ("epoll",))):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
"""


def run(system: str, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _ELSEWHERE.format(name=system) + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def command(system: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(system, f"from infra_validator.cli.main import main; sys.exit(main({list(arguments)!r}))")


@pytest.mark.parametrize(
    ("systems", "system", "sentence"),
    [
        (LINUX, "linux", ""),
        (LINUX_AND_MACOS, "darwin", ""),
        (LINUX, "darwin", "The thing runs on Linux; this is macOS."),
        (LINUX_AND_MACOS, "win32", "The thing runs on Linux and macOS; this is Windows."),
        (LINUX_AND_MACOS, "sunos5", "The thing runs on Linux and macOS; this is sunos5."),
    ],
)
def test_the_sentence(systems: tuple[str, ...], system: str, sentence: str) -> None:
    assert why_not_here("The thing", systems, system) == sentence


def test_the_command_line_on_windows() -> None:
    done = command("win32", "validate", "--model", "m", "--serving-spec", "s")
    assert done.returncode == 3
    assert (
        done.stderr
        == "infra-validator: infra-validator runs on Linux and macOS; this is Windows. On Windows use WSL 2.\n"
    )


def test_the_embedded_server_on_macos() -> None:
    done = command("darwin", "serve", "--port=0")
    assert done.returncode == 255
    assert done.stdout == "The embedded model server runs on Linux; this is macOS.\n"


def test_a_local_process_on_macos() -> None:
    done = run("darwin", "from infra_validator import wiring; wiring.runner_class('local_process')")
    assert "PLATFORM_NOT_INSTALLED" in done.stderr
    assert "The platform local_process runs on Linux; this is macOS." in done.stderr


def test_what_macos_is_promised_imports_there() -> None:
    modules = [
        "infra_validator.api",
        "infra_validator.cli.validate",
        "infra_validator.cli.verify",
        "infra_validator.probe.command",
        "infra_validator.probe.sidecar.server",
        "infra_validator.cli.model_runtime.conformance",
        "infra_validator.model_server_runners.local_docker_runner",
        "infra_validator.model_server_runners.kubernetes_runner",
    ]
    # Under Linux's name, since Python's own modules look for files of macOS under the other.
    done = run("linux", f"import importlib\nfor name in {modules!r}:\n    importlib.import_module(name)")
    assert done.returncode == 0, done.stderr
