"""What may import what: the layers of ARCHITECTURE.md as data, and the check that reads the imports standing in the code.

``ORDER`` has an entry for every folder that holds folders. An entry is a row of steps, from the ground up: a name (a file or a
folder) may import names of lower steps only, so names of one step do not know each other and no two of them can import each other.
``*`` stands for the folder's own files that are not named; those may import each other. A folder's ``__init__.py`` and
``__main__.py`` stand above everything in it. Imports inside functions and for type checkers count like all others.
"""

from __future__ import annotations

import ast
import dataclasses
import pathlib
import sys
from collections.abc import Iterator

PACKAGE = pathlib.Path(__file__).parents[1] / "infra_validator"

Steps = tuple[tuple[str, ...], ...]

ORDER: dict[str, Steps] = {
    "": (
        # Layer 0: the standard library only.
        ("_version", "_lazy_names"),
        ("core",),
        # Layer 1: data.
        ("protos",),
        ("specs", "saved_model"),
        # Layer 2: four families that meet through the data only.
        ("serving_binaries", "model_server_runners", "model_server_clients", "sample_requests"),
        # Layer 3: the decision.
        ("report",),
        ("telemetry",),
        ("validation",),
        ("wiring",),
        ("plan",),
        ("api",),
        # Layer 4: the edges.
        ("embedded_server", "probe", "conformance"),
        ("model_runtime",),
        ("blessing", "notebook"),
        ("driver", "executor"),
        ("component",),
        ("component_under_tfx_name",),
        ("testing",),
        ("fleet",),
        ("cli",),
    ),
    "core": (("*",), ("network", "signals")),
    "telemetry": (("json_log", "metrics", "traces"), ("watchers",), ("observing",)),
    "specs": (("extensions",), ("reader",), ("local_process",), ("kubernetes", "limits", "binaries"), ("*",)),
    "specs/binaries": (("placeholders", "model_repository"), ("*",)),
    "serving_binaries": (("layouts",), ("*",)),
    "serving_binaries/layouts": (("arrangement",), ("triton_config",), ("mlserver", "kserve", "triton")),
    "model_server_runners": (
        ("cleanup", "log_lines"),
        ("*",),
        ("local_process", "local_docker", "kubernetes", "address"),
        ("local_docker_runner", "kubernetes_runner"),
    ),
    "model_server_runners/kubernetes": (("identity", "causes"), ("api",), ("pod", "connection"), ("*",)),
    "model_server_clients": (("*",), ("model_runtime", "open_inference", "threads")),
    "testing": (("misbehaving_server", "spares"), ("running_server",), ("*",), ("contracts",)),
    "testing/contracts": (("scripts",), ("*",)),
    "sample_requests": (
        ("records",),
        ("questions",),
        ("examples", "generated"),
        ("files",),
        ("*",),
    ),
    "validation/redaction": (
        ("views", "ordinary_words"),
        ("numbers_in_text",),
        ("search",),
        ("sent_values",),
        ("redaction",),
        ("attempt_report",),
    ),
    "validation": (("answers", "load", "redaction", "read_within"), ("limits",), ("baseline",), ("*",), ("warmup",)),
    "report": (("evidence", "measurements", "machine"), ("formats",), ("*",)),
    "report/formats": (("*",), ("html",), ("every_format",)),
    "validation/answers": (("elements", "expected_outputs", "served_signatures"), ("check",), ("compared",), ("*",)),
    "cli": (("progress", "ahead"), ("*",), ("git",)),
    "cli/progress": (
        ("printable", "board", "summary"),
        ("display",),
        ("drawing", "log_groups"),
        ("live", "json_lines"),
        ("choice",),
    ),
    "embedded_server": (
        ("status",),
        ("log", "metrics"),
        ("engine",),
        ("models",),
        ("inference",),
        ("open_inference",),
        ("grpc", "rest"),
        ("flags", "ports"),
        ("server",),
        ("*",),
    ),
    "conformance": (("points",), ("report", "open_inference")),
    "probe": (("exit_codes",), ("go",), ("transport",), ("*",), ("sidecar",)),
    "model_runtime": (("model_source",), ("sizes", "conformance"), ("backends",), ("*",)),
}

#: Heavy libraries and the only places that may import them.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "docker": ("model_server_runners/local_docker/daemon.py",),
    "kubernetes": ("model_server_runners/kubernetes/api/access.py",),
    "websocket": ("model_server_runners/kubernetes/api/client.py",),
    "rich": ("cli/progress/drawing.py",),
    "prometheus_client": ("telemetry/metrics.py",),
    "opentelemetry": ("telemetry/traces.py",),
    "tfx": (
        "component.py",
        "driver.py",
        "executor.py",
        "blessing.py",
        "notebook/blessing_visualization.py",
        "sample_requests/examples/artifact.py",
    ),
    "tensorflow": (),
    "tensorflow_serving": (),
    "airflow": (),
    "kfp": (),
}

#: What the two lowest layers may import besides the standard library: at import time, and inside functions.
GROUND: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "_version": ((), ()),
    "_lazy_names": ((), ()),
    "core": ((), ("yaml", "google")),
    "protos": (("google", "grpc"), ()),
    "specs": (("yaml", "google"), ()),
    "saved_model": (("yaml", "google"), ()),
}


@dataclasses.dataclass(frozen=True)
class Import:
    """One import as it stands in the code.

    Attributes:
      importer: the file that imports, relative to the package.
      line: where.
      module: what is imported, with dots.
      target: the file of the package that this is, relative to the package; None for other people's modules.
      at_import: whether importing the file runs it (false inside a function).
    """

    importer: pathlib.PurePath
    line: int
    module: str
    target: pathlib.PurePath | None
    at_import: bool

    def __str__(self) -> str:
        return f"{self.importer} imports {self.target or self.module}"


def sources(package: pathlib.Path = PACKAGE) -> list[pathlib.Path]:
    """The files of the package, but for generated code and code in its shape."""
    return [path for path in sorted(package.rglob("*.py")) if not path.name.endswith(("_pb2.py", "_pb2_grpc.py"))]


def imports(package: pathlib.Path = PACKAGE) -> Iterator[Import]:
    """Every import in the package's files, those inside functions and for type checkers included."""
    for path in sources(package):
        tree = ast.parse(path.read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        inside = {id(node) for function in functions for node in ast.walk(function)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [(alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [("." * node.level + (node.module or ""), alias.name) for alias in node.names]
            else:
                continue
            for module, name in names:
                module, target = _resolve(package, module, name)
                yield Import(path.relative_to(package), node.lineno, module, target, id(node) not in inside)


def _resolve(package: pathlib.Path, module: str, name: str) -> tuple[str, pathlib.PurePath | None]:
    """(the module with dots, its file in the package): ``from a import b`` is of ``a.b`` where that is a module."""
    if module.split(".")[0] != package.name:
        return module, None
    for dotted in (f"{module}.{name}", module) if name else (module,):
        path = package.parent.joinpath(*dotted.split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.exists():
                return dotted, file.relative_to(package)
    return module, None


def violations(package: pathlib.Path = PACKAGE, order: dict[str, Steps] = ORDER) -> list[str]:
    """Every import that breaks a rule, as ``file imports file: why``; sorted, each once."""
    found = {f"{folder} has no steps in ORDER" for folder in _folders_that_hold_folders(package) if folder not in order}
    for imported in imports(package):
        why = _why_not(imported, package, order)
        if why:
            found.add(f"{imported}: {why}")
    return sorted(found)


def _folders_that_hold_folders(package: pathlib.Path) -> set[str]:
    folders = {path.relative_to(package).parent for path in sources(package)}
    return {folder.parent.as_posix() for folder in folders if folder.parts and folder.parent.parts}


def _why_not(imported: Import, package: pathlib.Path, order: dict[str, Steps]) -> str:
    importer, target = imported.importer, imported.target
    library = imported.module.split(".")[0]
    if library == "":
        return "a relative import hides where it leads"
    if library == package.name:
        return _why_not_up(importer, target, order) if target is not None else "there is no such module"
    if library in ONLY_IN and importer.as_posix() not in ONLY_IN[library]:
        return f"only {' and '.join(ONLY_IN[library]) or 'nobody'} may import {library}"
    ground = importer.parts[0].removesuffix(".py")
    if ground in GROUND and library not in sys.stdlib_module_names:
        at_import, inside = GROUND[ground]
        if library not in at_import + (() if imported.at_import else inside):
            return f"{ground} is of the ground layers, which do without {library}"
    return ""


def _why_not_up(importer: pathlib.PurePath, target: pathlib.PurePath, order: dict[str, Steps]) -> str:
    """Why a file of the package may not import another one; empty if it may."""
    shared = 0
    while importer.parts[shared] == target.parts[shared]:
        shared += 1
        if shared == len(importer.parts):
            return ""
    folder = "/".join(importer.parts[:shared])
    importer_name, target_name = importer.parts[shared], target.parts[shared]
    if importer_name in ("__init__.py", "__main__.py"):
        return ""
    if target_name == "__init__.py":
        return f"{folder or 'the package'} itself is above what it holds"
    steps = order.get(folder)
    if steps is None:
        return ""  # a folder of files only; one that holds folders has to have steps
    lower, upper = _step(target_name, steps), _step(importer_name, steps)
    if lower is None or upper is None:
        missing = target_name if lower is None else importer_name
        return f"{missing} has no step in {folder or 'the package'}"
    if lower < upper or (lower == upper and steps[lower] == ("*",)):
        return ""
    return "they stand side by side" if lower == upper else "that is upwards"


def _step(name: str, steps: Steps) -> int | None:
    """Which step a file or folder stands on."""
    stem = name.removesuffix(".py")
    for number, step in enumerate(steps):
        if stem in step:
            return number
    if name.endswith(".py"):
        for number, step in enumerate(steps):
            if "*" in step:
                return number
    return None
