"""``python -m component_tests.fakes.model_runtime.departing_process PORT POINT...``: a departing runtime as a process of its own."""

from __future__ import annotations

import sys
from concurrent import futures

import grpc

from component_tests.fakes.model_runtime.departing_runtime import DepartingRuntime
from infra_validator.model_runtime import add_ModelRuntimeServicer_to_server


def main(port: str, *wrong: str) -> None:
    """Serve on 127.0.0.1 until the process is ended."""
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    runtime = DepartingRuntime(*wrong)
    add_ModelRuntimeServicer_to_server(runtime, server)
    server.add_generic_rpc_handlers((runtime,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
