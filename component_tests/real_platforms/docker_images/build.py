"""Builds the images that the tests on Docker run; no registry is needed, only Debian's packages and TensorFlow's wheel.

    python -m component_tests.real_platforms.docker_images.build [TAG...]

makes ``tensorflow/serving:TAG`` (several tags, one server: our embedded one behind an entry point that behaves as the real image's
does), and prints what it made. Each image's own tag carries a hash of what went into it, so a second run makes only what changed:

    infra-validator-test/root:HASH         a Debian root file system with Python, gRPC and numpy (debootstrap)
    infra-validator-test/tensorflow:HASH   root and the two C libraries of TensorFlow's wheel
    infra-validator-test/serving:HASH      tensorflow, this checkout's package and the entry point
    infra-validator-test/fake:HASH         root and the misbehaving servers of component_tests/fakes
    infra-validator-test/busybox:HASH      nothing but a shell of 2 MB, for what is pushed and pulled
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[3]
HERE = pathlib.Path(__file__).parent
FAKES = ROOT / "component_tests" / "fakes"
PREFIX = "infra-validator-test"
_LOCKS = pathlib.Path(tempfile.gettempdir())  # of every process, whatever TMPDIR a test sets
SERVING = "tensorflow/serving"
TAGS = ("2.18.0", "2.19.0", "latest")

_DEBIAN = "bookworm"
_PACKAGES = ("python3-minimal", "python3-grpcio", "python3-protobuf", "python3-numpy", "python3-yaml", "busybox-static")
_LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")


class CannotBuild(Exception):
    """What is missing, in one sentence."""


def serving(*tags: str) -> str:
    """``tensorflow/serving`` under all ``tags``; returns the image's own name, which carries the hash."""
    inputs = [*sorted(HERE.glob("serving/*")), *package_files()]
    name = f"{PREFIX}/serving:{_hash(tensorflow(), *inputs)}"
    with _built(name) as context:
        if context is not None:
            for file in HERE.glob("serving/*"):
                shutil.copy(file, context)
            for file in package_files():
                target = context / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
            docker("build", "-q", "-t", name, "--build-arg", f"BASE={tensorflow()}", str(context))
    for tag in tags:
        docker("tag", name, f"{SERVING}:{tag}")
    return name


def tensorflow() -> str:
    """The root file system with TensorFlow's C libraries where the embedded server looks for them."""
    libraries = [_wheel() / library for library in _LIBRARIES]
    name = f"{PREFIX}/tensorflow:{_hash(root(), *[f'{file.name} {file.stat().st_size}' for file in libraries])}"
    with _built(name) as context:
        if context is not None:
            _say("taking the C libraries out of TensorFlow's wheel")
            for library in libraries:
                _without_symbols(library, context / library.name)
            (context / "__init__.py").write_text('"""Only the C libraries are here."""\n')
            (context / "Dockerfile").write_text(f"FROM {root()}\nCOPY . /usr/lib/python3/dist-packages/tensorflow/\n")
            (context / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
            docker("build", "-q", "-t", name, str(context))
    return name


def root() -> str:
    """A small Debian root file system."""
    name = f"{PREFIX}/root:{_hash(_DEBIAN, *_PACKAGES)}"
    with _built(name) as context:
        if context is not None:
            _say("making a Debian root file system (debootstrap, about a minute)")
            if not shutil.which("debootstrap"):
                raise CannotBuild("debootstrap is missing: apt-get install debootstrap")
            packages = ",".join(_PACKAGES)
            target = context / "root"
            _run("debootstrap", "--variant=minbase", f"--include={packages}", _DEBIAN, str(target))
            shutil.rmtree(target / "var/cache/apt", ignore_errors=True)
            shutil.rmtree(target / "var/lib/apt/lists", ignore_errors=True)
            with subprocess.Popen(["tar", "-C", str(target), "-c", "."], stdout=subprocess.PIPE) as tar:
                docker("import", "-", name, stdin=tar.stdout)
    return name


def fake(*more: str) -> str:
    """The root file system with the misbehaving servers; which one is run is said by the command.

    Args:
      more: parts of the package that the server imports beyond those of most.
    """
    files = [
        *sorted(FAKES.glob("*.py")),
        *sorted(FAKES.glob("servers/*.py")),
        *package_files("core", "protos", "saved_model", "testing", "__init__.py", "_version.py", *more),
    ]
    name = f"{PREFIX}/fake:{_hash(root(), *files)}"
    with _built(name) as context:
        if context is not None:
            for file in files:
                target = context / "app" / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
            (context / "app/component_tests/__init__.py").touch()
            lines = [f"FROM {root()}", "COPY app /app", "ENV PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1", "WORKDIR /app"]
            (context / "Dockerfile").write_text("\n".join(lines) + "\n")
            docker("build", "-q", "-t", name, str(context))
    return name


def busybox() -> str:
    """A shell of 2 MB and nothing else."""
    name = f"{PREFIX}/busybox:{_hash(root())}"
    with _built(name) as context:
        if context is not None:
            container = docker("create", root(), "true").strip()
            try:
                docker("cp", "-L", f"{container}:/bin/busybox", str(context / "busybox"))
            finally:
                docker("rm", container)
            (context / "Dockerfile").write_text(
                'FROM scratch\nCOPY busybox /bin/busybox\nENTRYPOINT ["/bin/busybox"]\n'
            )
            docker("build", "-q", "-t", name, str(context))
    return name


def docker(*arguments: str, stdin: object = None) -> str:
    """What ``docker ARGUMENTS`` prints. Raises CannotBuild."""
    return _run("docker", *arguments, stdin=stdin, env=os.environ | {"DOCKER_BUILDKIT": "0"})


def variant(name: str, base: str, *lines: str) -> str:
    """An image made from ``base`` by a few Dockerfile lines; returns ``infra-validator-test/<name>:HASH``."""
    full = f"{PREFIX}/{name}:{_hash(base, *lines)}"
    with _built(full) as context:
        if context is not None:
            (context / "Dockerfile").write_text("\n".join([f"FROM {base}", *lines]) + "\n")
            docker("build", "-q", "-t", full, str(context))
    return full


def package_files(*parts: str) -> list[pathlib.Path]:
    """The source files of the package, or of some of its parts."""
    package = ROOT / "infra_validator"
    files = [p for p in package.rglob("*") if p.is_file() and p.suffix in (".py", ".proto", ".typed")]
    if parts:
        files = [p for p in files if p.relative_to(package).parts[0] in parts]
    return sorted(files)


def _wheel() -> pathlib.Path:
    found = importlib.util.find_spec("tensorflow")
    if found is None or not found.submodule_search_locations:
        raise CannotBuild("TensorFlow's wheel is not installed in this environment; its C libraries go into the image.")
    return pathlib.Path(next(iter(found.submodule_search_locations)))


def _without_symbols(source: pathlib.Path, target: pathlib.Path) -> None:
    """A copy without the symbol table, a fifth smaller; a plain copy where binutils is not installed."""
    if not shutil.which("strip"):
        shutil.copy(source, target)
        return
    _run("strip", "--strip-unneeded", "-o", str(target), str(source))


def _hash(*inputs: str | pathlib.Path) -> str:
    digest = hashlib.sha256()
    for item in inputs:
        if isinstance(item, pathlib.Path):
            digest.update(f"{item.relative_to(ROOT)} {item.stat().st_mode & 0o111}\0".encode())
            digest.update(item.read_bytes())
        else:
            digest.update(item.encode() + b"\0")
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def _built(name: str) -> Iterator[pathlib.Path | None]:
    """An empty directory to build ``name`` in; None if there is such an image. Two builders of one image take turns."""
    lock_file = _LOCKS / f"infra-validator-image-{name.replace('/', '-')}.lock"
    with open(lock_file, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _exists(name):
            yield None
            return
        _say(f"building {name}")
        with tempfile.TemporaryDirectory(prefix="infra-validator-image-") as directory:
            yield pathlib.Path(directory)


def _exists(name: str) -> bool:
    return bool(docker("image", "ls", "-q", name).strip())


def _run(*command: str, stdin: object = None, env: dict[str, str] | None = None) -> str:
    result = subprocess.run(command, stdin=stdin, env=env, capture_output=True, text=True, check=False)  # type: ignore[call-overload]
    if result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).strip().splitlines()[-5:])
        raise CannotBuild(f"{' '.join(command[:2])} failed with exit code {result.returncode}:\n{tail}")
    return str(result.stdout)


def _say(line: str) -> None:
    print(f"docker_images: {line}", file=sys.stderr, flush=True)


def main() -> int:
    tags = tuple(sys.argv[1:]) or TAGS
    try:
        name = serving(*tags)
    except CannotBuild as error:
        _say(str(error))
        return 1
    print(json.dumps({"image": name, "tags": [f"{SERVING}:{tag}" for tag in tags]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
