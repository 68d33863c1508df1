"""Measures the coverage of every Python process that has this folder on its PYTHONPATH, model servers and commands included.

An embedded server gets PYTHONPATH of its validator's environment, but not the variables with which coverage starts itself.
"""

import os
import pathlib

_ROOT = pathlib.Path(__file__).resolve().parents[2]

try:
    import coverage
except ImportError:  # another environment's Python
    pass
else:
    os.environ["COVERAGE_FILE"] = str(_ROOT / ".cache" / "coverage" / "data")
    os.environ["COVERAGE_PROCESS_START"] = str(_ROOT / "pyproject.toml")
    coverage.process_startup()
