"""The layers of ARCHITECTURE.md, enforced over the imports that stand in the code."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

import pytest

PACKAGE = pathlib.Path(__file__).parents[2] / "infra_validator"

LAYERS: dict[str, int] = {
    "_version": 0,
    "core": 0,
    "specs": 1,
    "saved_model": 1,
    "protos": 1,
    "serving_binaries": 2,
    "model_server_runners": 2,
    "model_server_clients": 2,
    "sample_requests": 2,
    "report": 3,
    "validation": 3,
    "wiring": 3,
    "api": 3,
    "blessing": 4,
    "component": 4,
    "driver": 4,
    "executor": 4,
    "cli": 4,
    "embedded_server": 4,
    "model_runtime": 4,
    "probe": 4,
    "__main__": 4,
}

#: Families of layer 2: within one, a member may import the family's base and its own helpers, but no sibling platform.
FAMILIES = ("serving_binaries", "model_server_runners", "model_server_clients", "sample_requests")

#: Heavy libraries and the only places (relative to the package) that may import them.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "docker": ("model_server_runners/local_docker/daemon.py",),
    "kubernetes": ("model_server_runners/kubernetes/api/access.py",),
    "websocket": ("model_server_runners/kubernetes/api/client.py",),
    "tfx": ("component.py", "driver.py", "executor.py", "blessing.py", "sample_requests/examples/artifact.py"),
    "tensorflow": (),
    "tensorflow_serving": (),
    "airflow": (),
    "kfp": (),
}


def imports(path: pathlib.Path) -> Iterator[tuple[str, int, bool]]:
    """(imported module, line, whether at import time) of every import in a file, those inside functions included."""
    tree = ast.parse(path.read_text())
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) not in inside
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.module or "", node.lineno, id(node) not in inside
            if node.module in ("infra_validator", "infra_validator.protos"):
                for alias in node.names:
                    yield f"{node.module}.{alias.name}", node.lineno, id(node) not in inside


def sources() -> list[pathlib.Path]:
    """All files but generated code, and code in the shape of generated code (``*_pb2_grpc.py`` imports grpc by nature)."""
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not path.name.endswith(("_pb2.py", "_pb2_grpc.py"))]


def part_of(module: str) -> str:
    """The first name under the package: ``infra_validator.specs.reader`` is of ``specs``."""
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path: pathlib.Path) -> None:
    relative = path.relative_to(PACKAGE)
    part = relative.parts[0].removesuffix(".py")
    if part == "__init__":
        return  # the public list; its own test says what it may import
    layer = LAYERS[part]
    for module, line, _ in imports(path):
        if not module.startswith("infra_validator."):
            continue
        other = part_of(module)
        where = f"{relative}:{line} imports {module}"
        assert other in LAYERS, f"{where}, which has no layer"
        if other == part:
            continue
        assert LAYERS[other] <= layer, f"{where}: from layer {layer} up to layer {LAYERS[other]}"
        if part in FAMILIES and part != other:
            assert other not in FAMILIES, f"{where}: families do not know each other"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_libraries_stay_where_they_belong(path: pathlib.Path) -> None:
    relative = str(path.relative_to(PACKAGE))
    for module, line, _ in imports(path):
        library = module.split(".")[0]
        if library in ONLY_IN:
            assert relative in ONLY_IN[library], f"{relative}:{line} imports {module}"


def test_the_core_imports_nothing_outside_the_standard_library() -> None:
    allowed = set(__import__("sys").stdlib_module_names) | {"infra_validator", "yaml", "google"}
    for path in sources():
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if LAYERS.get(part, 0) <= 1:
            for module, line, at_import in imports(path):
                library = module.split(".")[0]
                assert library in allowed, f"{path}:{line} imports {module}"
                if LAYERS.get(part, 0) == 0 and at_import:
                    assert library not in ("yaml", "google"), f"{path}:{line} imports {module}"
