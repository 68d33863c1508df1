"""Builds the probe as one file that runs on a bare ``python3 -I -S``: dist/tfs_model_status_probe.pyz.

    python tools/build_probe_pyz.py [--output FILE] [--compile-for PYTHON ...]

Compiling the probe's sources takes longer than running it, and compiled code belongs to one Python version. So the file holds
the sources and, in a folder of its own for each of them, the code compiled by the Pythons named with ``--compile-for`` (the
running one if none is). A Python of any other version runs the sources. The same inputs give the same file.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "infra_validator"
LEFT_OUT = ("__main__.py", "sidecar")  # files and folders that the zip file has no use for

#: What the zip file starts with. Kept short: this is compiled at every run.
MAIN = """\
import sys
sys.path.insert(0, sys.path[0] + "/" + sys.implementation.cache_tag)
from infra_validator.probe.command import entry
entry()
"""

#: Run by each Python that code is compiled for, with the folders of sources and of compiled code as arguments.
COMPILE = """\
import importlib.util, marshal, pathlib, sys
source, target = map(pathlib.Path, sys.argv[1:])
for path in sorted(source.rglob("*.py")):
    name = path.relative_to(source)
    code = compile(path.read_bytes(), str(name), "exec", dont_inherit=True, optimize=2)
    out = (target / sys.implementation.cache_tag / name).with_suffix(".pyc")
    out.parent.mkdir(parents=True, exist_ok=True)
    unchecked = (1).to_bytes(4, "little") + bytes(8)  # by hash, not to be checked: no date can make it stale
    out.write_bytes(importlib.util.MAGIC_NUMBER + unchecked + marshal.dumps(code))
"""


def gather(folder: pathlib.Path) -> None:
    """Copy the probe's sources, with a package file that imports nothing in place of the real one."""
    probe = folder / "infra_validator" / "probe"
    probe.mkdir(parents=True)
    (probe.parent / "__init__.py").write_bytes(b"")
    (probe.parent / "core").mkdir()
    (probe.parent / "core" / "__init__.py").write_bytes(b"")
    for name in ("_version.py", "core/wire.py"):  # what the probe uses of the rest of the package
        (probe.parent / name).write_bytes((PACKAGE / name).read_bytes())
    for path in sorted((PACKAGE / "probe").rglob("*.py")):
        inside = path.relative_to(PACKAGE / "probe")
        if inside.parts[0] not in LEFT_OUT:
            (probe / inside).parent.mkdir(exist_ok=True)
            (probe / inside).write_bytes(path.read_bytes())


def build(output: pathlib.Path, pythons: list[str]) -> None:
    """Write the zip file; it takes its place at once or not at all."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as name:
        folder = pathlib.Path(name)
        sources = folder / "sources"
        gather(sources)
        for python in pythons:
            command = [python, "-S", "-c", COMPILE, str(sources), str(folder / "compiled")]
            subprocess.run(command, check=True, cwd=folder, env={"PYTHONHASHSEED": "0"})  # for the order in frozen sets
        draft = folder / "probe.pyz"
        with draft.open("wb") as file:
            file.write(b"#!/usr/bin/env -S python3 -I -S\n")
            # Stored, not deflated: unpacking would cost more at every run than the octets cost once.
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                put(archive, "__main__.py", MAIN.encode())
                for tree in (folder / "compiled", sources):
                    for path in sorted(tree.rglob("*.py*")):
                        put(archive, path.relative_to(tree).as_posix(), path.read_bytes())
        draft.chmod(0o755)
        os.replace(draft, output)


def put(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds the probe as one file.")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "dist" / "tfs_model_status_probe.pyz")
    parser.add_argument("--compile-for", nargs="+", default=[sys.executable], metavar="PYTHON")
    arguments = parser.parse_args()
    build(arguments.output, arguments.compile_for)
    print(f"{arguments.output}: {arguments.output.stat().st_size} octets")


if __name__ == "__main__":
    main()
