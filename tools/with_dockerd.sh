#!/usr/bin/env bash
# with_dockerd.sh COMMAND...: runs COMMAND with a Docker daemon: the one that answers already, else one that is started for
# it, with a data root and a socket of its own, and stopped by its process id afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."

if docker version >/dev/null 2>&1; then
  exec "$@"
fi
if ! command -v dockerd >/dev/null; then
  echo "with_dockerd.sh: no Docker daemon answers and dockerd is not installed (Debian: apt-get install docker.io)." >&2
  exec "$@"  # the tests say themselves what they make of it
fi

work=$(mktemp -d /tmp/infra-validator-dockerd.XXXXXX)
data="$PWD/.cache/dockerd"
mkdir -p "$data"
daemon=
finish() {
  if [ -n "$daemon" ]; then
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

export DOCKER_HOST="unix://$work/docker.sock"
dockerd --host "$DOCKER_HOST" --data-root "$data" --exec-root "$work/exec" --pidfile "$work/docker.pid" \
  >"$work/dockerd.log" 2>&1 &
daemon=$!
for _ in $(seq 300); do
  if docker version >/dev/null 2>&1; then break; fi
  if ! kill -0 "$daemon" 2>/dev/null; then
    echo "with_dockerd.sh: dockerd did not start:" >&2
    tail -n 20 "$work/dockerd.log" >&2
    exit 1
  fi
  sleep 0.1
done
docker version >/dev/null || { tail -n 20 "$work/dockerd.log" >&2; exit 1; }
"$@"
