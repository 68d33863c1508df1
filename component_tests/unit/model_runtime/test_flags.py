"""Where the flags of ``infra-validator model-runtime`` get their defaults, and what they refuse."""

from __future__ import annotations

import argparse

import pytest

from infra_validator.cli.model_runtime import check as model_runtime_check
from infra_validator.cli.model_runtime import command as model_runtime
from infra_validator.cli.model_runtime import conformance as model_runtime_conformance
from infra_validator.model_runtime.sizes.container_memory import RESERVED_BYTES, memory_limit

CONTROLLER = {
    "ADAPTER_PORT": "8086",
    "LOADING_CONCURRENCY": "7",
    "LOADTIME_TIMEOUT": "45000",
    "DEFAULT_MODELSIZE": "1000000",
    "LIMIT_PER_MODEL_CONCURRENCY": "3",
    "RUNTIME_VERSION": "v3",
    "ROOT_MODEL_DIR": "/data",
    "CONTAINER_MEM_REQ_BYTES": "3000000000",
    "MEM_BUFFER_BYTES": "1000000000",
}


def test_model_meshs_controller_sets_the_defaults() -> None:
    made = model_runtime._parser(CONTROLLER).parse_args([])
    assert (made.max_loading_concurrency, made.load_timeout, made.max_concurrency) == (7, 45.0, 3)
    assert (made.default_model_size, made.runtime_version, made.model_root) == (1_000_000, "v3", "/data")
    assert model_runtime._addresses(made, CONTROLLER) == ["localhost:8086"]
    assert model_runtime._capacity(CONTROLLER) == 2_000_000_000


def test_flags_come_before_the_environment() -> None:
    made = model_runtime._parser(CONTROLLER).parse_args(
        ["--port", "1", "--load-timeout", "2", "--max-concurrency", "0"]
    )
    assert model_runtime._addresses(made, CONTROLLER) == ["localhost:1"]
    assert (made.load_timeout, made.max_concurrency) == (2.0, 0)


def test_without_an_environment_the_containers_limit_counts() -> None:
    made = model_runtime._parser({}).parse_args([])
    assert (made.max_loading_concurrency, made.load_timeout, made.model_root) == (2, 90.0, "/models")
    assert model_runtime._capacity({}) == memory_limit() - RESERVED_BYTES


def test_a_socket_alone_or_beside_a_port() -> None:
    parse = model_runtime._parser({}).parse_args
    assert model_runtime._addresses(parse(["--unix-socket", "/s"]), {}) == ["unix:/s"]
    both = parse(["--unix-socket", "/s", "--port", "5", "--host", "::1"])
    assert model_runtime._addresses(both, {}) == ["[::1]:5", "unix:/s"]


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("localhost:8085", "localhost:8085"),
        (":8085", "localhost:8085"),
        ("[::1]:8085", "[::1]:8085"),
        ("unix:/tmp/mmesh/grpc.sock", "unix:/tmp/mmesh/grpc.sock"),
        ("dns:///runtime:8085", "dns:///runtime:8085"),
    ],
)
def test_addresses(given: str, target: str) -> None:
    assert model_runtime_check.address(given) == target


@pytest.mark.parametrize("given", ["", "localhost", "localhost:", "localhost:0", "localhost:70000", "unix:", "8085"])
def test_addresses_that_are_none(given: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="neither host:port nor unix:PATH"):
        model_runtime_check.address(given)


@pytest.mark.parametrize("model", ["m", "m=", "=/models/m", ""])
def test_a_model_to_test_with_is_a_name_and_a_path(model: str) -> None:
    with pytest.raises(SystemExit) as caught:
        model_runtime_conformance.main(["--target", "localhost:1", "--model", model])
    assert caught.value.code == 2
