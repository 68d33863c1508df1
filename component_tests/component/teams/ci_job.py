"""Runs the shell steps of a CI's job one after the other in a clean directory, as that CI does.

The package is not in any index that the tests may ask, so ``pip`` is a program that takes down what it was asked to install.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import yaml

from component_tests.fakes.saved_models import ROOT

_SECONDS = 280


@dataclasses.dataclass
class Checkout:
    """A directory as a CI's job has it after its checkout.

    Args:
      directory: the job's working directory.
      programs: what stands first on the PATH: the command line tools of this environment, and ``pip``.
    """

    directory: pathlib.Path
    programs: pathlib.Path

    def run(
        self, command: list[str], environment: Mapping[str, str], check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run one step's shell with the job's environment, which is nothing of this process's but the PATH and HOME."""
        known = {"PATH": f"{self.programs}:/usr/bin:/bin", "HOME": str(self.directory.parent), "LANG": "C.UTF-8"}
        return subprocess.run(
            command,
            cwd=self.directory,
            env={**known, **environment},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=check,
        )

    def installed(self) -> list[str]:
        """What pip was asked to install."""
        return (self.programs / "installed").read_text().split()


def checkout(directory: pathlib.Path, model: pathlib.Path | None = None) -> Checkout:
    """A checkout under ``directory`` with ``model``, if there is one, at models/my_model."""
    work, programs = directory / "work", directory / "programs"
    (work / "models").mkdir(parents=True)
    programs.mkdir()
    if model is not None:
        shutil.copytree(model, work / "models" / "my_model")
    script(programs / "pip", f'#!/bin/sh\n[ "$1" = install ] && shift && echo "$@" >> {programs}/installed\n')
    script(programs / "infra-validator", f'#!/bin/sh\nexec {sys.executable} -m infra_validator "$@"\n')
    script(programs / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    return Checkout(work, programs)


def script(path: pathlib.Path, text: str) -> pathlib.Path:
    """An executable file."""
    path.write_text(text)
    path.chmod(0o755)
    return path


def config(name: str) -> Any:
    """A file of configs/, read."""
    return yaml.safe_load((ROOT / "configs" / name).read_text())


def environment_of(**more: str) -> dict[str, str]:
    """A job's own variables, and where this checkout's package is."""
    return {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2", "TMPDIR": os.environ.get("TMPDIR", "/tmp"), **more}
