"""The probe stays light: what one run imports, seen in an interpreter of its own."""

from __future__ import annotations

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[3]

# Each of these costs milliseconds, which a kubelet pays every few seconds for every pod.
HEAVY = (
    "grpc",
    "google",
    "typing",
    "dataclasses",
    "re",
    "json",
    "argparse",
    "logging",
    "ssl",
    "threading",
    "inspect",
    "importlib.metadata",
    "encodings.idna",
)

# What else a run may import: parts of python3-minimal (seen in Debian's python3.11-minimal) that are cheap.
MINIMAL = {
    "array",
    "collections",
    "enum",
    "functools",
    "itertools",
    "keyword",
    "operator",
    "os",
    "posixpath",
    "genericpath",
    "reprlib",
} | {"errno", "select", "selectors", "math", "socket", "stat", "time", "types"}

SHOW = """\
import sys
sys.path.insert(0, sys.argv[1])
import importlib.machinery, types
package = types.ModuleType("infra_validator")  # as in the zip file, where the package's file is empty
package.__path__ = [sys.argv[1] + "/infra_validator"]
sys.modules["infra_validator"] = package
before = set(sys.modules)
from infra_validator.probe.command import main
code = main(["-addr=127.0.0.1:1", "-connect-timeout=1ms", "--output=json"])
print()
print(code, *sorted(set(sys.modules) - before))
"""


def test_one_run_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", SHOW, str(ROOT)], capture_output=True, text=True, check=True, timeout=60
    )
    code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "2"
    assert "infra_validator.probe.transport.http2" in modules
    assert [name for name in modules if name in HEAVY] == []
    others = {name.split(".")[0] for name in modules} - {"infra_validator"}
    assert {name for name in others if not name.startswith("_")} <= MINIMAL
