#!/usr/bin/env bash
# Runs a command in a Debian 13 with Python 3.13 and TFX 1.21: debian13.sh COMMAND [ARGUMENT ...]
#
# TFX 1.21 needs glibc 2.39. The root file system is made once (debootstrap, then the locked packages) and kept under the
# user's cache directory, named by a hash of what goes into it; the checkout appears in it as /checkout. Needs root and debootstrap.
# The bind mounts live in a mount namespace of their own, so they are gone when the command is.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "debian13.sh: $1" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "making a root file system needs root"
command -v debootstrap >/dev/null || fail "debootstrap is missing; install Debian's package debootstrap"

lock=requirements/tfx_next.lock
name=$(cat "$0" "$lock" | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/infra-validator/debian13
root=$cache/$name

make_root() {
  local unfinished=$root.unfinished
  rm -rf "$unfinished"
  mkdir -p "$unfinished"
  echo "debian13.sh: making the root file system (about three minutes)" >&2
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,python3-dev,g++ trixie "$unfinished" >"$cache/debootstrap.log" 2>&1 \
    || fail "debootstrap failed; see $cache/debootstrap.log"
  cat /etc/ssl/certs/ca-certificates.crt >"$unfinished/etc/ssl/certs/ca-certificates.crt"
  cp -L /etc/resolv.conf /etc/hosts "$unfinished/etc/"
  cp "$lock" "$unfinished/tmp/lock"
  chroot "$unfinished" /bin/sh -c 'export HOME=/tmp/home; python3 -m venv /environment && /environment/bin/pip install -q uv && /environment/bin/uv pip install -q --python /environment/bin/python -r /tmp/lock && rm -rf /tmp/home' \
    || fail "the packages of $lock could not be installed"
  mv "$unfinished" "$root"
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
[ -d "$root" ] || make_root
flock -u 9

mkdir -p "$root/checkout" "$root/dev/shm"
exec unshare --mount --propagation private /bin/bash -euo pipefail -c '
  root=$1; shift
  mount --bind . "$root/checkout"
  mount -t proc proc "$root/proc"
  mount -t tmpfs tmpfs "$root/tmp"
  mount -t tmpfs tmpfs "$root/dev/shm"
  exec chroot "$root" /usr/bin/env HOME=/tmp PATH=/environment/bin:/usr/bin:/bin PYTHONPATH=/checkout PYTHONDONTWRITEBYTECODE=1 \
    /bin/sh -c "cd /checkout && exec \"\$@\"" sh "$@"
' bash "$root" "$@"
