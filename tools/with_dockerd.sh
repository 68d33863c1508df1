#!/usr/bin/env bash
# Runs a command with a Docker daemon:  tools/with_dockerd.sh COMMAND [ARGUMENT...]
#
# A daemon that answers already (DOCKER_HOST, or the default socket) is used as it is. Otherwise one is started with a data root,
# exec root, pid file and socket of its own, and stopped by its process id when the last command that uses it has ended. Several of
# these scripts may run at once: they share the daemon. Images stay in the data root between runs.
#
#   INFRA_VALIDATOR_CACHE   where the data root is kept; default ~/.cache/infra-validator
set -euo pipefail

[ $# -gt 0 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }

answers() { DOCKER_HOST="$1" timeout 5 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

for host in "${DOCKER_HOST:-}" unix:///var/run/docker.sock; do
  if [ -n "$host" ] && answers "$host"; then
    export DOCKER_HOST="$host"
    exec "$@"
  fi
done

fail() { echo "with_dockerd.sh: $*" >&2; exit 3; }
without_daemon() { echo "with_dockerd.sh: no Docker daemon answers, and $*" >&2; }  # the tests say what they make of it
if ! command -v dockerd >/dev/null; then
  without_daemon "dockerd is not installed (Debian: apt-get install docker.io)."
  exec "$@"
elif [ "$(id -u)" != 0 ]; then
  without_daemon "starting one needs root. Start Docker, or set DOCKER_HOST."
  exec "$@"
fi

cache="${INFRA_VALIDATOR_CACHE:-$HOME/.cache/infra-validator}/docker"
mkdir -p "$cache"
run="/tmp/infra-validator-dockerd-$(printf %s "$cache" | cksum | cut -d' ' -f1)" # a socket's path is at most 107 bytes
mkdir -p "$run"
export DOCKER_HOST="unix://$run/docker.sock"
log="$run/dockerd.log"

start() {
  if answers "$DOCKER_HOST"; then return; fi
  rm -f "$run/docker.sock" "$run/docker.pid"
  # It may outlive this command, for others: nothing that the caller has open (a lock, a pipe) is held by it.
  setsid dockerd --data-root="$cache/data" --exec-root="$run/exec" --pidfile="$run/docker.pid" --host="$DOCKER_HOST" \
    --storage-driver="${INFRA_VALIDATOR_STORAGE_DRIVER:-overlay2}" >"$log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- </dev/null &
  for _ in $(seq 300); do
    if [ -S "$run/docker.sock" ] && answers "$DOCKER_HOST"; then return; fi
    kill -0 $! 2>/dev/null || break
    sleep 0.1
  done
  tail -20 "$log" >&2
  fail "dockerd did not start; its log is $log"
}

stop() {
  local code=$?
  trap - EXIT
  flock -u 8
  # Whoever gets the lock for itself alone is the last user.
  if flock -n -x 8 && [ -f "$run/docker.pid" ]; then
    local pid
    pid=$(cat "$run/docker.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 300); do
      kill -0 "$pid" 2>/dev/null || exit "$code"
      sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
  fi
  exit "$code"
}

exec 8>"$run/users.lock" 9>"$run/start.lock"
flock 9
flock -s 8
trap stop EXIT
start
flock -u 9
# The command does not inherit the locks: what it leaves running would keep the daemon up for good.
set +e
"$@" 8>&- 9>&-
