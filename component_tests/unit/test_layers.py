"""The layers of ARCHITECTURE.md hold in the code, and the check that says so fails on a forbidden import of each kind."""

from __future__ import annotations

import pathlib

import pytest

from tools.layers import ORDER, violations


def test_every_import_is_allowed() -> None:
    assert violations() == []


def tree(root: pathlib.Path, files: dict[str, str]) -> pathlib.Path:
    """A package called ``infra_validator`` with these files, an empty ``__init__.py`` in each folder."""
    package = root / "infra_validator"
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for folder in {path.parent for path in package.rglob("*.py")} | {package}:
        while folder != root:
            (folder / "__init__.py").touch()
            folder = folder.parent
    return package


#: importer, imported, why it is forbidden
FORBIDDEN = [
    ("core/states.py", "specs/reader.py", "upwards"),
    ("specs/reader.py", "wiring.py", "upwards"),
    ("validation/validation.py", "executor.py", "upwards"),
    ("specs/reader.py", "saved_model/find.py", "side by side"),
    ("model_server_runners/base_runner.py", "model_server_clients/base_client.py", "side by side"),
    ("serving_binaries/base_binary.py", "sample_requests/from_message.py", "side by side"),
    ("embedded_server/main.py", "probe/command.py", "side by side"),
    ("model_server_runners/kubernetes/runner.py", "model_server_runners/local_docker/runner.py", "side by side"),
    ("model_server_runners/local_docker/runner.py", "model_server_runners/local_process/processes.py", "side by side"),
    ("model_server_runners/base_runner.py", "model_server_runners/local_process/runner.py", "upwards"),
    ("model_server_runners/cleanup/watchdog.py", "model_server_runners/base_runner.py", "upwards"),
    ("model_server_runners/kubernetes/api/client.py", "model_server_runners/kubernetes/runner.py", "upwards"),
    ("model_server_runners/kubernetes/api/client.py", "model_server_runners/kubernetes/pod/manifest.py", "upwards"),
    (
        "model_server_runners/kubernetes/pod/manifest.py",
        "model_server_runners/kubernetes/connection/endpoint.py",
        "side by side",
    ),
    ("embedded_server/engine/c_api.py", "embedded_server/models/servable.py", "upwards"),
    ("embedded_server/models/servable.py", "embedded_server/inference/batching.py", "upwards"),
    ("embedded_server/inference/warmup.py", "embedded_server/grpc/grpc_server.py", "upwards"),
    ("embedded_server/rest/api.py", "embedded_server/grpc/grpc_server.py", "side by side"),
    ("embedded_server/grpc/grpc_server.py", "embedded_server/server.py", "upwards"),
    ("embedded_server/server.py", "embedded_server/main.py", "upwards"),
    ("probe/transport/dial.py", "probe/settings.py", "upwards"),
    ("model_runtime/backends/embedded.py", "model_runtime/servicer.py", "upwards"),
    ("sample_requests/examples/artifact.py", "sample_requests/files/json_requests.py", "upwards"),
]


def dotted(file: str) -> str:
    return "infra_validator." + file.removesuffix(".py").replace("/", ".")


@pytest.mark.parametrize(("importer", "imported", "why"), FORBIDDEN)
def test_a_forbidden_import_is_found(tmp_path: pathlib.Path, importer: str, imported: str, why: str) -> None:
    package = tree(tmp_path, {importer: f"from {dotted(imported)} import thing\n", imported: ""})
    (found,) = violations(package)
    assert found.startswith(f"{importer} imports {imported}: ")
    assert why in found


@pytest.mark.parametrize(("importer", "imported"), [pair[:2] for pair in FORBIDDEN])
def test_the_other_way_round_is_allowed_or_side_by_side(tmp_path: pathlib.Path, importer: str, imported: str) -> None:
    """So no two folders can import each other: at most one of the two directions is free."""
    package = tree(tmp_path, {imported: f"import {dotted(importer)}\n", importer: ""})
    why = [why for first, second, why in FORBIDDEN if (first, second) == (importer, imported)]
    assert bool(violations(package)) == (why == ["side by side"])


@pytest.mark.parametrize(
    "text",
    [
        "import infra_validator.wiring as w",
        "from infra_validator import wiring",
        "def f():\n    from infra_validator import wiring",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from infra_validator.wiring import load",
    ],
)
def test_however_it_is_written(tmp_path: pathlib.Path, text: str) -> None:
    package = tree(tmp_path, {"core/states.py": text, "wiring.py": ""})
    assert violations(package) == ["core/states.py imports wiring.py: that is upwards"]


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("core/states.py", "from . import errors", "a relative import"),
        ("core/states.py", "import infra_validator.specs.gone", "there is no such module"),
        ("core/states.py", "import numpy", "do without numpy"),
        ("core/states.py", "import yaml", "do without yaml"),
        ("saved_model/graph.py", "def f():\n    import grpc", "do without grpc"),
        ("api.py", "def f():\n    import tensorflow as tf", "nobody may import tensorflow"),
        ("probe/asking.py", "from tensorflow_serving.apis import predict_pb2", "nobody may import tensorflow_serving"),
        ("model_server_runners/local_docker/images.py", "import docker", "only model_server_runners/local_docker/"),
        (
            "model_server_runners/kubernetes/runner.py",
            "import kubernetes.client",
            "only model_server_runners/kubernetes/",
        ),
        ("validation/validation.py", "import tfx.v1", "only component.py"),
        ("specs/reader.py", "import infra_validator", "itself is above what it holds"),
        ("cleaning/gc.py", "import infra_validator.core.errors", "cleaning has no step in the package"),
        ("saved_model/deep/down.py", "", "saved_model has no steps in ORDER"),
    ],
)
def test_what_else_is_forbidden(tmp_path: pathlib.Path, file: str, text: str, why: str) -> None:
    package = tree(tmp_path, {file: text, "core/errors.py": ""})
    (found,) = violations(package)
    assert why in found


def test_no_name_stands_on_two_steps() -> None:
    for steps in ORDER.values():
        names = [name for step in steps for name in step]
        assert len(names) == len(set(names))
