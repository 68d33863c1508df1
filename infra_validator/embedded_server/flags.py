"""The command line: TensorFlow Serving's flags with their syntax, defaults and help, and four of our own (contract 1.1, 1.2).

The parser follows the real one to the letter, oddities included: ``--name value`` is two unknown arguments, unknown arguments are
printed and then ignored, the last of a repeated flag wins.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")

_CPUS = os.cpu_count() or 1
_TRUE = {"true", "t", "yes", "y", "1"}
_FALSE = {"false", "f", "no", "n", "0"}
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")
_RANGES = {"int32": 2**31, "int64": 2**63}


def _flag(kind: str, default: T, text: str, *, ignored: str = "", ours: bool = False) -> T:
    """A flag; ``ignored`` says why it has no effect here."""
    metadata = {"kind": kind, "help": text, "ignored": ignored, "ours": ours}
    return dataclasses.field(default=default, metadata=metadata)


def _int32(default: int, text: str, **more: Any) -> int:
    return _flag("int32", default, text, **more)


def _int64(default: int, text: str, **more: Any) -> int:
    return _flag("int64", default, text, **more)


def _bool(default: bool, text: str, **more: Any) -> bool:
    return _flag("bool", default, text, **more)


def _string(default: str, text: str, **more: Any) -> str:
    return _flag("string", default, text, **more)


def _float(default: float, text: str, **more: Any) -> float:
    return _flag("float", default, text, **more)


_NO_GPU = "the embedded model server runs on the CPU"
_NO_TFLITE = "the embedded model server loads SavedModels only"


@dataclasses.dataclass
class Flags:
    """The values of all flags. Names, types, defaults and effects are the real server's; see the contract."""

    port: int = _int32(8500, "TCP port to listen on for gRPC/HTTP API. Disabled if port set to zero.")
    grpc_socket_path: str = _string("", "If non-empty, listen to a UNIX socket for gRPC API on the given path.")
    rest_api_port: int = _int32(
        0, "Port to listen on for HTTP/REST API. If set to zero HTTP/REST API will not be exported."
    )
    rest_api_num_threads: int = _int32(4 * _CPUS, "Number of threads for HTTP/REST API processing.")
    rest_api_timeout_in_ms: int = _int32(30000, "Timeout for HTTP/REST API calls.")
    rest_api_enable_cors_support: bool = _bool(False, "Enable CORS headers in response")
    model_name: str = _string("default", "Name of model (ignored if --model_config_file flag is set)")
    model_base_path: str = _string(
        "", "Path to export (ignored if --model_config_file flag is set, otherwise required)"
    )
    model_config_file: str = _string(
        "", "If non-empty, read an ascii ModelServerConfig protobuf from the supplied file."
    )
    model_config_file_poll_wait_seconds: int = _int32(
        0, "Interval in seconds between each poll of the model config file; 0: it is read once, at start."
    )
    file_system_poll_wait_seconds: int = _int32(
        1, "Interval in seconds between each poll of the filesystem for new versions."
    )
    num_load_threads: int = _int32(
        0, "The number of threads that load servables after the start; 0: the manager's own."
    )
    num_unload_threads: int = _int32(
        0, "The number of threads that unload servables.", ignored="unloads run in the manager's thread"
    )
    max_num_load_retries: int = _int32(5, "How often a failed load is tried again, after the first try.")
    load_retry_interval_micros: int = _int64(60 * 10**6, "The interval, in microseconds, between two tries to load.")
    flush_filesystem_caches: bool = _bool(
        True, "Flush filesystem caches after loads.", ignored="local files need no cache of their own"
    )
    enable_batching: bool = _bool(False, "enable batching")
    batching_parameters_file: str = _string(
        "", "If non-empty, read an ascii BatchingParameters protobuf from the file."
    )
    enable_per_model_batching_parameters: bool = _bool(
        False,
        "Read the batching parameters of each version from batching_params.pbtxt in its directory; versions without one are "
        "not batched. Only the threads of --batching_parameters_file count then. Has an effect with --enable_batching only.",
    )
    allow_version_labels_for_unavailable_models: bool = _bool(
        False, "If true, allows assigning unused version labels to models that are not available yet."
    )
    enable_model_warmup: bool = _bool(True, "Enables model warmup, which triggers lazy initializations at load time.")
    num_request_iterations_for_warmup: int = _int32(0, "Number of times a warmup request is replayed; 0: once.")
    monitoring_config_file: str = _string(
        "", "If non-empty, read an ascii MonitoringConfig protobuf from the supplied file."
    )
    ssl_config_file: str = _string("", "If non-empty, read an ascii SSLConfig protobuf from the supplied file.")
    use_alts_credentials: bool = _bool(False, "Use ALTS credentials.", ignored="ALTS exists on Google Cloud only")
    grpc_channel_arguments: str = _string(
        "", "A comma separated list of arguments (key=value) to pass to the grpc server."
    )
    grpc_max_threads: int = _int32(4 * _CPUS, "Max grpc server threads to handle grpc messages.")
    enable_grpc_healthcheck_service: bool = _bool(False, "Enable the standard gRPC healthcheck service.")
    enable_profiler: bool = _bool(True, "Enable profiler service.", ignored="there is no profiler service here")
    tensorflow_session_parallelism: int = _int64(
        0, "Number of threads to use for running a Tensorflow session; 0: auto."
    )
    tensorflow_intra_op_parallelism: int = _int64(0, "Number of threads to use to parallelize the execution of an op.")
    tensorflow_inter_op_parallelism: int = _int64(
        0, "Controls the number of operators that can be executed simultaneously."
    )
    tensorflow_session_config_file: str = _string("", "If non-empty, read an ascii ConfigProto protobuf from the file.")
    per_process_gpu_memory_fraction: float = _float(0.0, "Fraction of the GPU memory to take.", ignored=_NO_GPU)
    saved_model_tags: str = _string(
        "serve", "Comma-separated set of tags of the meta graph def to load from SavedModel."
    )
    platform_config_file: str = _string(
        "",
        "If non-empty, read an ascii PlatformConfigMap protobuf from the file.",
        ignored="there is one platform here",
    )
    remove_unused_fields_from_bundle_metagraph: bool = _bool(
        True, "Keep only the signatures of the MetaGraphDef in memory.", ignored="nothing else is ever kept here"
    )
    enable_signature_method_name_check: bool = _bool(False, "Enable method_name check for SignatureDef.")
    enable_serialization_as_tensor_content: bool = _bool(False, "Answer Predict in tensor_content.")
    prefer_tflite_model: bool = _bool(False, "Refuse versions that hold a model.tflite: it cannot be served here.")
    num_tflite_pools: int = _int32(_CPUS, "Number of TFLite interpreter pools.", ignored=_NO_TFLITE)
    num_tflite_interpreters_per_pool: int = _int32(1, "Number of TFLite interpreters in a pool.", ignored=_NO_TFLITE)
    xla_cpu_compilation_enabled: bool = _bool(False, "Enable XLA:CPU JIT.", ignored="XLA's JIT stays off")
    xla_gpu_compilation_enabled: bool = _bool(
        False, "Enable both XLA:CPU and XLA:GPU JIT.", ignored="XLA's JIT stays off"
    )
    mixed_precision: str = _string(
        "", "Mixed precision: bfloat16.", ignored="graphs run in the precision they were saved in"
    )
    thread_pool_factory_config_file: str = _string(
        "",
        "If non-empty, read an ascii ThreadPoolConfig protobuf from the file.",
        ignored="TensorFlow's own pools are used",
    )
    skip_initialize_tpu: bool = _bool(False, "Whether to skip auto initializing TPU.", ignored=_NO_GPU)
    version: bool = _bool(False, "Display version")

    port_file: str = _string(
        "",
        "If non-empty, take free ports (in place of --port and --rest_api_port where these are not given) and write them to "
        'this file, before anything is loaded, as JSON: {"grpc": N, "rest": M, "pid": P}. Not of TensorFlow Serving.',
        ours=True,
    )
    bind_address: str = _string("", "The address to listen on; empty: all. Not of TensorFlow Serving.", ours=True)
    load_op_library: str = _string(
        "",
        "Comma-separated paths of shared libraries with operations of your own, loaded before any model. Not of TensorFlow Serving.",
        ours=True,
    )
    enable_open_inference: bool = _bool(
        False,
        "Answer the Open Inference Protocol (KServe v2) as well, on the same ports. Not of TensorFlow Serving.",
        ours=True,
    )
    strict_flags: bool = _bool(False, "Refuse to start on unknown arguments. Not of TensorFlow Serving.", ours=True)
    shutdown_grace_seconds: float = _float(
        0.0,
        "How long requests may finish after SIGTERM or SIGINT; 0: the process dies at once, as the real one does. "
        "Not of TensorFlow Serving.",
        ours=True,
    )


_FIELDS = {field.name: field for field in dataclasses.fields(Flags)}


@dataclasses.dataclass
class ParseResult:
    """What a command line says.

    Attributes:
      flags: the values.
      given: the names of the flags that were given.
      unknown: the arguments that no flag took, in their order.
      complaints: one line for each value that could not be read; the usage is due if there are any.
    """

    flags: Flags
    given: set[str]
    unknown: list[str]
    complaints: list[str]

    @property
    def usage_asked(self) -> bool:
        return bool(self.complaints) or self.unknown[:1] == ["--help"]

    @property
    def warnings(self) -> list[str]:
        """One line for each flag that was given and that we do not act on."""
        return [
            f"--{name} is accepted and has no effect: {reason}"
            for name in _FIELDS
            if name in self.given and (reason := _FIELDS[name].metadata["ignored"])
        ]


def parse(arguments: Sequence[str]) -> ParseResult:
    """Read the arguments after the program's name."""
    result = ParseResult(Flags(), set(), [], [])
    for index, argument in enumerate(arguments):
        if argument == "--":
            result.unknown += arguments[index:]
            break
        name, equals, text = argument.removeprefix("--").partition("=")
        field = _FIELDS.get(name) if argument.startswith("--") else None
        if field is None or (not equals and field.metadata["kind"] != "bool"):
            result.unknown.append(argument)
            continue
        value = _value(field.metadata["kind"], text) if equals else True
        if value is None:
            result.complaints.append(f"Couldn't interpret value {text} for flag {name}.")
        else:
            setattr(result.flags, name, value)
            result.given.add(name)
    return result


def _value(kind: str, text: str) -> str | int | float | bool | None:
    """The value that ``text`` is; None if it is none."""
    if kind == "string":
        return text
    if kind == "bool":
        word = text.lower()
        return True if word in _TRUE else False if word in _FALSE else None
    if kind == "float":
        try:
            return float(text)
        except ValueError:
            return None
    limit = _RANGES[kind]
    if not _INTEGER.fullmatch(text) or not -limit <= int(text) < limit:
        return None
    return int(text)


def usage(program: str) -> str:
    """The usage text, in the real server's form."""
    lines = [f"usage: {program}", "Flags:"]
    for name, field in _FIELDS.items():
        kind, default = field.metadata["kind"], field.default
        if kind == "string":
            shown = f'"{default}"'
        elif kind == "bool":
            shown = str(default).lower()
        else:
            shown = f"{default:f}" if kind == "float" else str(default)
        lines.append(f"\t{f'--{name}={shown}':<33}\t{kind}\t{field.metadata['help']}")
    return "\n".join(lines) + "\n"
