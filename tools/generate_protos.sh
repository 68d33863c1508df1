#!/usr/bin/env bash
# Regenerates infra_validator/protos/*_pb2.py and their type stubs.
# protoc 21.5 (grpcio-tools 1.49.1) is old enough for protobuf 3.20 and its output still runs under 6.x.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.10}
env=$(mktemp -d)
trap 'rm -rf "$env"' EXIT
"$python" -m venv "$env"
"$env/bin/pip" install --quiet "grpcio-tools==1.49.1" "mypy-protobuf==3.3.0" "setuptools<80"
PATH="$env/bin:$PATH" "$env/bin/python" -W ignore -m grpc_tools.protoc -I . --python_out=. --mypy_out=quiet:. infra_validator/protos/*.proto
