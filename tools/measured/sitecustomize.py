"""Measures the coverage of every Python process that has this folder on its PYTHONPATH, model servers and commands included.

An embedded server gets PYTHONPATH of its validator's environment, but not the variables with which coverage starts itself.
"""

import os
import pathlib

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SETTINGS = _ROOT / "pyproject.toml"

try:
    import coverage
except ImportError:  # another environment's Python
    pass
else:
    if os.access(_SETTINGS, os.R_OK):  # not in a sandbox
        os.environ["COVERAGE_FILE"] = str(_ROOT / ".cache" / "coverage" / "data")
        os.environ["COVERAGE_PROCESS_START"] = str(_SETTINGS)
        coverage.process_startup()
