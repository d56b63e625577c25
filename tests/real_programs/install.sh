#!/usr/bin/env bash
# Installs with apt-get (Debian 12) every program that the cases need; `install.sh --print` only names the packages.
set -eu

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# python3 and gcc are what run.sh itself needs.
packages=$(
    {
        sed -n 's/^# needs: *//p' "$here"/cases/*.sh | tr ' ' '\n' | sed -n 's/.*=//p'
        printf '%s\n' python3 gcc libc6-dev gdb
    } | LC_ALL=C sort -u
)
# A toolchain from rustup does as well as Debian's.
if command -v cargo >/dev/null && command -v rustc >/dev/null; then
    packages=$(grep -vxE 'cargo|rustc' <<<"$packages")
fi
# Likewise a node that is there already.
if command -v node >/dev/null; then
    packages=$(grep -vx nodejs <<<"$packages")
fi
mapfile -t packages <<<"$packages"
if [ "${1-}" = --print ]; then
    echo "${packages[@]}"
    exit
fi

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]+"${as_root[@]}"}" apt-get update
# The packages of servers must not start them: the cases start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]+"${as_root[@]}"}" tee "$policy" >/dev/null
    "${as_root[@]+"${as_root[@]}"}" chmod +x "$policy"
    trap '"${as_root[@]+"${as_root[@]}"}" rm -f "$policy"' EXIT
fi
"${as_root[@]+"${as_root[@]}"}" apt-get install -y --no-upgrade --no-install-recommends "${packages[@]}"
