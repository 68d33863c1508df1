#!/usr/bin/env bash
# Runs a command in a Debian 13, which has Python 3.13 and no 3.10: debian13.sh COMMAND [ARGUMENT ...]
#
# TFX 1.21 needs glibc 2.39. The root file system is made once (debootstrap) and kept under the user's cache directory, named by a
# hash of this file. The checkout appears in it as /checkout, with a .venv of its own, which tools/bootstrap.py keeps up to date in
# there. Needs root and debootstrap. The bind mounts live in a mount namespace of their own, so they are gone when the command is.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "debian13.sh: $1" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "making a root file system needs root"
command -v debootstrap >/dev/null || fail "debootstrap is missing; install Debian's package debootstrap"

name=$(sha256sum <"$0" | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/infra-validator/debian13
root=$cache/$name

make_root() {
  local unfinished=$root.unfinished
  rm -rf "$unfinished"
  mkdir -p "$unfinished"
  echo "debian13.sh: making the root file system (about a minute)" >&2
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,python3-dev,g++,git,make,procps,iproute2 trixie "$unfinished" >"$cache/debootstrap.log" 2>&1 \
    || fail "debootstrap failed; see $cache/debootstrap.log"
  cat /etc/ssl/certs/ca-certificates.crt >"$unfinished/etc/ssl/certs/ca-certificates.crt"
  cp -L /etc/resolv.conf /etc/hosts "$unfinished/etc/"
  mv "$unfinished" "$root"
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
[ -d "$root" ] || make_root

mkdir -p "$root/checkout" "$root/dev/shm" "$root/environment" .venv
inside() {
  unshare --mount --propagation private /bin/bash -euo pipefail -c '
    root=$1; shift
    mount --bind . "$root/checkout"
    mount --bind "$root/environment" "$root/checkout/.venv"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/tmp"
    mount -t tmpfs tmpfs "$root/dev/shm"
    exec chroot "$root" /usr/bin/env HOME=/tmp PATH=/usr/bin:/bin /bin/sh -c "cd /checkout && exec \"\$@\"" sh "$@"
  ' bash "$root" "$@"
}
inside env TMPDIR=/var/tmp UV_NO_CACHE=1 python3 tools/bootstrap.py main
flock -u 9
inside "$@"
