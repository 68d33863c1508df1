"""A server that reads a model repository as MLServer, KServe or Triton does, and serves what it finds as open_inference_server does.

    python -m component_tests.fakes.servers.repository_server start FOLDER [--bind_address=...]            as MLServer
    ... --model-repository=FOLDER [--grpc-port=8001] [--http-port=8000] [--grpc-address=...]               as Triton
    ... --model_dir=FOLDER --model_name=m [--grpc_port=8081] [--http_port=8080] [--bind_address=...]       as KServe

``--write=FILE`` has it write a file.

Stricter than they are: exactly one model must be there, whole, or it ends with what is wrong. A model is whole if it has weights.bin.
It listens only where it is told to.
"""

from __future__ import annotations

import json
import pathlib
import sys
import threading
from collections.abc import Mapping
from typing import Any

from component_tests.fakes.servers.open_inference_rest import RestServer
from component_tests.fakes.servers.open_inference_server import Model, grpc_server
from infra_validator.serving_binaries.layouts.triton_config import read_config

WEIGHTS = "weights.bin"


def main() -> None:
    given = dict(item.removeprefix("--").partition("=")[::2] for item in sys.argv[1:])
    if "start" in given:
        name, told = as_mlserver(pathlib.Path(sys.argv[sys.argv.index("start") + 1]))
    elif "model-repository" in given:
        name, told = as_triton(pathlib.Path(given["model-repository"]), given)
    else:
        name, told = given["model_name"], given
        whole(pathlib.Path(given["model_dir"]))
    if "write" in given:
        pathlib.Path(given["write"]).write_text("compiled")
        print(f"wrote {given['write']}", flush=True)
    address, model = given.get("bind_address") or told.get("host") or "127.0.0.1", Model(name)
    if "http_port" in told:
        rest = RestServer((address, int(told["http_port"])), model)
        threading.Thread(target=rest.serve_forever, daemon="grpc_port" in told).start()
    if "grpc_port" in told:
        grpc_server(model, f"{address}:{told['grpc_port']}").wait_for_termination()


def as_mlserver(folder: pathlib.Path) -> tuple[str, Mapping[str, Any]]:
    """The model's name, and ``host``, ``grpc_port``, ``http_port`` as far as they are told, from the two files."""
    settings = json.loads((folder / "settings.json").read_text())
    found = [path for path in (folder, *folder.iterdir()) if (path / "model-settings.json").is_file()]
    if len(found) != 1:
        sys.exit(f"{len(found)} models in {folder}")
    model = json.loads((found[0] / "model-settings.json").read_text())
    whole(found[0] / model.get("parameters", {}).get("uri", "."))
    return model["name"], settings


def as_triton(repository: pathlib.Path, given: dict[str, str]) -> tuple[str, Mapping[str, Any]]:
    """The same from the flags and config.pbtxt."""
    (model,) = repository.iterdir()
    config = read_config((model / "config.pbtxt").read_text())
    if config.get("name", [model.name]) != [model.name]:
        sys.exit(f"{config['name']} in {model}")
    (version,) = [path for path in model.iterdir() if path.name.isdigit()]
    whole(version)
    named = {"grpc-address": "host", "grpc-port": "grpc_port", "http-port": "http_port"}
    return model.name, {named[flag]: value for flag, value in given.items() if flag in named}


def whole(path: pathlib.Path) -> None:
    weights = path if path.name == WEIGHTS else path / WEIGHTS
    if weights.read_bytes() != b"weights":
        sys.exit(f"{weights} is broken")


if __name__ == "__main__":
    main()
