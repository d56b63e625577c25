# shellcheck shell=bash
# What every case sources first. A case prints to stdout what must be the same without and with the library,
# and to "$RP_LOG" what may differ (shown only when the case fails). It runs in an empty directory of its own,
# which is also HOME and TMPDIR, at the same path both times. Any command that fails ends it.
#
# Set by run.sh: RP_DIR (this folder), RP_SIZE (quick, full), RP_LOG, RP_SIDE (without, with), RP_LIBRARY (the file),
# RP_PYTHON (a python3.11); RP_WITNESS, RP_MARKER and RP_LIB_NAME (for witness.c).
set -eu -o pipefail
trap 'echo "case: line $LINENO failed with $?" >&2' ERR
ulimit -c 0

# The end of a case that found something wrong itself.
die() {
    echo "case: $*" >&2
    exit 1
}

# pick QUICK FULL: the size that fits the run.
pick() {
    if [ "$RP_SIZE" = full ]; then echo "$2"; else echo "$1"; fi
}

# sum FILE…: names and SHA-256.
sum() {
    sha256sum -- "$@"
}

# in_charge PID: the running server PID has the library mapped with it, and has not without it.
in_charge() {
    local mapped=no
    if grep -qF "$RP_LIBRARY" "/proc/$1/maps"; then mapped=yes; fi
    case "$RP_SIDE:$mapped" in
    with:yes | without:no) ;;
    *) die "process $(cat "/proc/$1/comm") ran $RP_SIDE the library, but mapped: $mapped" ;;
    esac
}

# python_modes INPUT ARGS…: the same script under each of Python's allocators. In `default` small objects lie
# in Python's own arenas; in `malloc` all of them come from the library; `malloc_debug` adds red zones that
# show any byte the library changed.
python_modes() {
    local script=$1 mode
    shift
    for mode in default malloc malloc_debug; do
        echo "== PYTHONMALLOC=$mode"
        PYTHONMALLOC=$mode "$RP_PYTHON" -X faulthandler "$RP_DIR/inputs/$script" "$@"
    done
}

# cpython_test MODULE MODES [ARGS…]: CPython's own test module; one line per test with its outcome.
cpython_test() {
    local module=$1 modes=$2 mode
    shift 2
    if [ "$RP_SIZE" = full ]; then modes="default malloc"; fi
    for mode in $modes; do
        echo "== PYTHONMALLOC=$mode $module"
        PYTHONMALLOC=$mode "$RP_PYTHON" -m test --junit-xml "results.$mode.xml" "$@" "$module" >>"$RP_LOG" 2>&1 ||
            die "$module failed under PYTHONMALLOC=$mode"
        "$RP_PYTHON" "$RP_DIR/inputs/junit_lines.py" "results.$mode.xml"
    done
}

# wait_until SECONDS COMMAND…: polls until the command succeeds.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >>"$RP_LOG" 2>&1; do
        [ "$SECONDS" -lt "$end" ] || die "still failing: $*"
        sleep 0.1
    done
}

# free_port: a TCP port of 127.0.0.1 that nobody listens on.
free_port() {
    "$RP_PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
