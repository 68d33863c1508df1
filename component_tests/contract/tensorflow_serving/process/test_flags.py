"""Contract 1.1 and 1.2: how arguments are read."""

from __future__ import annotations

import os

import pytest

from infra_validator.embedded_server.flags import parse, usage


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--port=9"], "port", 9),
        (["--port=+9"], "port", 9),
        (["--port= 9"], "port", 9),
        (["--port=-1"], "port", -1),
        (["--port=1", "--port=2"], "port", 2),
        (["--load_retry_interval_micros=-1"], "load_retry_interval_micros", -1),
        (["--model_name="], "model_name", ""),
        (["--model_name=a=b"], "model_name", "a=b"),
        (["--enable_batching"], "enable_batching", True),
        (["--enable_batching=T"], "enable_batching", True),
        (["--enable_batching=yEs"], "enable_batching", True),
        (["--enable_batching=1"], "enable_batching", True),
        (["--enable_model_warmup=false"], "enable_model_warmup", False),
        (["--enable_model_warmup=N"], "enable_model_warmup", False),
        (["--enable_model_warmup=0"], "enable_model_warmup", False),
        (["--per_process_gpu_memory_fraction=0.5"], "per_process_gpu_memory_fraction", 0.5),
    ],
)
def test_1_1_values(arguments: list[str], name: str, value: object) -> None:
    parsed = parse(arguments)
    assert getattr(parsed.flags, name) == value
    assert (parsed.unknown, parsed.complaints) == ([], [])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "9000"],
        ["-port=1"],
        ["--PORT=1"],
        ["--noenable_batching"],
        ["--enable_batchingX"],
        ["word"],
        ["--no_such=1"],
        ["--model_name"],
        ["--", "--port=9"],
    ],
)
def test_1_1_unknown_arguments_leave_the_defaults(arguments: list[str]) -> None:
    parsed = parse(arguments)
    assert parsed.unknown == arguments
    assert (parsed.flags.port, parsed.flags.enable_batching, parsed.complaints) == (8500, False, [])


@pytest.mark.parametrize("value", ["9x", "", "0x10", "2147483648", "-2147483649", "1.0", "\uff19"])
def test_1_1_bad_numbers(value: str) -> None:
    assert parse([f"--port={value}"]).complaints == [f"Couldn't interpret value {value} for flag port."]


def test_1_1_bad_bools() -> None:
    parsed = parse(["--enable_batching=maybe", "--enable_model_warmup=on"])
    assert parsed.complaints == [
        "Couldn't interpret value maybe for flag enable_batching.",
        "Couldn't interpret value on for flag enable_model_warmup.",
    ]


def test_1_1_usage_form() -> None:
    lines = usage("prog").splitlines()
    assert lines[:2] == ["usage: prog", "Flags:"]
    assert lines[2].startswith(f"\t{'--port=8500':<33}\tint32\t")
    assert f"\t{'--model_name=' + chr(34) + 'default' + chr(34):<33}\tstring\t" in "\n".join(lines)
    assert f"\t{'--enable_model_warmup=true':<33}\tbool\t" in "\n".join(lines)


def test_1_2_every_flag_of_the_contract_has_its_default() -> None:
    flags = parse([]).flags
    cpus = os.cpu_count() or 1
    expected: dict[str, object] = {
        "port": 8500,
        "rest_api_port": 0,
        "rest_api_num_threads": 4 * cpus,
        "rest_api_timeout_in_ms": 30000,
        "model_name": "default",
        "file_system_poll_wait_seconds": 1,
        "max_num_load_retries": 5,
        "load_retry_interval_micros": 60_000_000,
        "flush_filesystem_caches": True,
        "enable_model_warmup": True,
        "grpc_max_threads": 4 * cpus,
        "enable_profiler": True,
        "saved_model_tags": "serve",
        "remove_unused_fields_from_bundle_metagraph": True,
        "enable_signature_method_name_check": False,
        "num_tflite_pools": cpus,
        "num_tflite_interpreters_per_pool": 1,
    }
    assert {name: getattr(flags, name) for name in expected} == expected
