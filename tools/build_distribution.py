#!/usr/bin/env python3
"""make dist: the sdist, and the wheel made of it, in dist/. The same commit gives the same wheel, byte for byte.

    .venv-release/bin/python tools/build_distribution.py [--output DIR] [SOURCE]

What differs between two builds of the same files is the time: it is SOURCE_DATE_EPOCH, else the time of the last commit. Files are
taken as git knows them, with the modes that it knows, and no isolation: the lock of the release environment says which setuptools.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]


def build(output: pathlib.Path, source: pathlib.Path = ROOT) -> list[pathlib.Path]:
    """Build sdist and wheel of the files that git tracks in ``source``; their paths. Raises CalledProcessError."""
    git = ["git", "-C", str(source)]
    tracked = subprocess.run([*git, "ls-files", "-z"], check=True, capture_output=True, text=True).stdout.split("\0")
    epoch = (
        os.environ.get("SOURCE_DATE_EPOCH")
        or subprocess.run(
            [*git, "log", "-1", "--format=%ct"], check=True, capture_output=True, text=True
        ).stdout.strip()
    )
    with tempfile.TemporaryDirectory() as place:
        for name in filter(None, tracked):
            file, copy = source / name, pathlib.Path(place, name)
            if file.is_file():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
                copy.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output.resolve()), place]
        subprocess.run(command, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": epoch}, umask=0o022)
    return sorted(output.glob("infra_validator-*"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=pathlib.Path, default=ROOT, help="a checkout (default: this one)")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.output, ignore_errors=True)
    for path in build(arguments.output, arguments.source):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
