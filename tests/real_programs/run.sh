#!/usr/bin/env bash
# Runs real programs without and with the preload library and compares what they print, byte for byte.
# `run.sh --help` says how. The parts: cases/ (one script per program), inputs/ (what they work on), case.sh
# (what cases share), supervise.py (timeout and clean-up), witness.c (who owns malloc, in every process).
set -u -o pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
marker=${PYMALLOC_MARKER:-pymalloc_is_in_charge}

usage() {
    cat <<'TEXT'
usage: run.sh [--lib PATH] [--quick|--full] [--jobs N] [--list] [--only NAME...] [--keep]

Runs each case once without and once with LD_PRELOAD=PATH and compares stdout, stderr and exit status.
  --lib PATH   the library; default: libpymalloc.so in the target directory (release, then debug)
  --quick      small inputs, a few minutes (default)        --full   larger inputs, every mode
  --jobs N     cases at a time; default: number of processors, at most 4
  --list       print the names of the cases and what they do
  --only NAME  run only these cases
  --keep       keep the directory of the run and print its name

Prints `ok NAME  (S s)`, S the wall time with the library, or `FAILED NAME: why`, and last
`N passed, M failed`. Exit status 0: none failed; 1: some failed; 2: could not start.
Nothing is skipped: a case whose program is missing fails and says what to install (or run install.sh).

PYMALLOC_MARKER=SYMBOL   take another library for the test of the tests (mallctl for jemalloc)
PYMALLOC_…               other variables of this prefix reach the programs, on the side with the library
RP_TIMEOUT_FACTOR=N      all time limits times N; RP_TIMEOUT=S sets them all
TEXT
}

fail_to_start() {
    echo "run.sh: $*" >&2
    exit 2
}

# header CASE KEY: the words after `# KEY:` in a case's script.
header() {
    sed -n "s/^# $2: *//p" "$here/cases/$1.sh"
}

# ---------------------------------------------------------------- arguments

library='' size=quick keep='' list='' only=() jobs=''
while [ $# -gt 0 ]; do
    case $1 in
    --lib) [ $# -gt 1 ] || fail_to_start "--lib needs a path"; library=$2; shift ;;
    --jobs) [ $# -gt 1 ] || fail_to_start "--jobs needs a number"; jobs=$2; shift ;;
    --quick) size=quick ;;
    --full) size=full ;;
    --list) list=yes ;;
    --keep) keep=yes ;;
    --only)
        while [ $# -gt 1 ] && [ "${2#-}" = "$2" ]; do only+=("$2"); shift; done
        [ ${#only[@]} -gt 0 ] || fail_to_start "--only needs a name (see --list)" ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail_to_start "unknown argument $1" ;;
    esac
    shift
done

# The long ones first, so that they do not end the run alone.
cases=()
while read -r _ name; do cases+=("$name"); done < <(
    for script in "$here"/cases/*.sh; do
        name=$(basename "$script" .sh)
        order=$(header "$name" order)
        echo "${order:-50} $name"
    done | LC_ALL=C sort
)
if [ -n "$list" ]; then
    for name in "${cases[@]}"; do printf '%-24s %s\n' "$name" "$(header "$name" about)"; done
    exit 0
fi
for name in ${only[@]+"${only[@]}"}; do
    [ -f "$here/cases/$name.sh" ] || fail_to_start "no case named $name (see --list)"
done
[ ${#only[@]} -eq 0 ] || cases=("${only[@]}")
if [ -z "$jobs" ]; then
    jobs=$(nproc)
    [ "$jobs" -le 4 ] || jobs=4
fi
[[ $jobs =~ ^[1-9][0-9]*$ ]] || fail_to_start "--jobs needs a number, not $jobs"

if [ -z "$library" ]; then
    target=${CARGO_TARGET_DIR:-$here/../../target}
    for candidate in "$target"/{release,debug}/{,deps/}libpymalloc.so; do
        if [ -f "$candidate" ]; then library=$candidate; break; fi
    done
    [ -n "$library" ] || fail_to_start "no libpymalloc.so in $target: build it with" \
        "'cargo build --release --features preload' or name one with --lib"
fi
[ -f "$library" ] || fail_to_start "no such library: $library"

# ---------------------------------------------------------------- what the run needs

# find_python TEST…: the first real python3.11 (not a shim script) that can import the modules.
find_python() {
    local candidate
    for candidate in /usr/bin/python3.11 "$(command -v python3.11)" "$HOME"/.pyenv/versions/3.11*/bin/python3.11; do
        [ -x "$candidate" ] || continue
        "$candidate" -c 'import sys, importlib
for name in sys.argv[1:]: importlib.import_module(name)
print(sys.executable)' "$@" 2>/dev/null && return
    done
    return 1
}

PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH
python=$(find_python json) || python=''
python_tests=$(find_python test.libregrtest test.test_json test.test_subprocess) || python_tests=''
supervisor_python=${python:-$(command -v python3)}
[ -n "$supervisor_python" ] || fail_to_start "needs python3: apt-get install -y python3.11 (or run $here/install.sh)"
command -v gcc >/dev/null || fail_to_start "needs gcc: apt-get install -y gcc (or run $here/install.sh)"

# rustup's cargo is a proxy that would read ~/.rustup; take the toolchain it stands for.
sysroot=$(cd / && rustc --print sysroot 2>/dev/null) && PATH=$sysroot/bin:$PATH
for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V -r); do
    if [ -x "$folder/initdb" ]; then PATH=$folder:$PATH; break; fi
done

run=$(mktemp -d "${TMPDIR:-/tmp}/rp.XXXXXX") || fail_to_start "cannot make a directory in ${TMPDIR:-/tmp}"
case $run in *[\ :]*) rm -rf "$run"; fail_to_start "LD_PRELOAD cannot name a path with a space or colon: $run" ;; esac
chmod 755 "$run" # postgres runs as another user

clean_up() {
    trap - EXIT INT TERM HUP
    local job
    for job in $(jobs -p); do kill -TERM "$job" 2>/dev/null; done
    wait 2>/dev/null
    if [ -n "$keep" ]; then
        echo "kept $run"
    else
        # The supervisors of killed jobs may still be killing what writes there.
        rm -rf "$run" 2>/dev/null || { sleep 1; rm -rf "$run"; }
    fi
}
trap clean_up EXIT
trap 'clean_up; exit 130' INT
trap 'clean_up; exit 143' TERM HUP

# A copy: readable by every user, and not replaced by a build that runs meanwhile.
mkdir "$run/lib"
cp -L "$library" "$run/lib/" || exit 2
library=$run/lib/$(basename "$library")
chmod 755 "$library"
gcc -O1 -fno-builtin -fplt -shared -fPIC -o "$run/lib/witness.so" "$here/witness.c" -ldl || fail_to_start "cannot compile witness.c"
gcc -O1 -fno-builtin -fplt -DPROVE -o "$run/lib/prove" "$here/witness.c" -ldl || fail_to_start "cannot compile witness.c"

common=(
    PATH="$PATH" LANG=C.UTF-8 LC_ALL=C.UTF-8 TZ=UTC SHELL=/bin/bash TERM=dumb PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
    SOURCE_DATE_EPOCH=1700000000 RP_DIR="$here" RP_SIZE="$size" RP_MARKER="$marker" RP_LIBRARY="$library" RP_LIB_NAME="$(basename "$library")"
)
for name in CARGO_HOME RUSTUP_HOME; do # for a cargo that is found without a sysroot
    [ -z "${!name-}" ] || common+=("$name=${!name}")
done
options=() # of the library itself
for name in $(compgen -e PYMALLOC); do options+=(--set "$name=${!name}"); done

# ---------------------------------------------------------------- is the library in charge at all?

in_charge_reason=''
prove_in_charge() {
    local without with
    without=$(env -i "${common[@]}" "$run/lib/prove") && {
        in_charge_reason="the marker $marker answers even without the library"
        return
    }
    with=$(env -i "${common[@]}" LD_PRELOAD="$library" "$run/lib/prove" 2>&1) && return
    in_charge_reason="the library is not in charge: a child under it says '$(tr '\n' ' ' <<<"$with")'"
    in_charge_reason+=" (was it built with --features preload? without: '$without')"
}
prove_in_charge

# ---------------------------------------------------------------- one case

# missing CASE: for each program the case needs and does not find, the package that has it.
missing() {
    local need program
    for need in $(header "$1" needs); do
        program=${need%%=*}
        case $program in
        python3.11) [ -n "$python" ] ;;
        python3.11-tests) [ -n "$python_tests" ] ;;
        *) command -v "$program" >/dev/null ;;
        esac || echo "${need#*=}"
    done | LC_ALL=C sort -u
}

# run_side CASE SIDE: leaves stdout, stderr, status, log and witness in $run/CASE/SIDE/.
run_side() {
    local name=$1 side=$2 into=$run/$1/$2 work=$run/$1/work limit interpreter=$python preload=()
    limit=$(header "$name" timeout)
    limit=${limit:-120}
    [ "$size" = quick ] || limit=$((limit * 5))
    limit=${RP_TIMEOUT:-$((limit * ${RP_TIMEOUT_FACTOR:-1}))}
    case " $(header "$name" needs) " in *" python3.11-tests="*) interpreter=$python_tests ;; esac
    [ "$side" = without ] || preload=(--set "LD_PRELOAD=$library:$run/lib/witness.so" ${options[@]+"${options[@]}"})

    mkdir -p "$into"
    rm -rf "$work"
    mkdir "$work"
    : >"$into/witness"
    : >"$into/log"
    chmod 666 "$into/witness" "$into/log" # postgres writes as another user
    chmod 755 "$run/$name" "$into"
    (
        cd "$work" && exec env -i "${common[@]}" HOME="$work" TMPDIR="$work" RP_SIDE="$side" RP_PYTHON="$interpreter" \
            RP_LOG="$into/log" RP_WITNESS="$into/witness" \
            "$supervisor_python" "$here/supervise.py" --timeout "$limit" --stdout "$into/stdout" --stderr "$into/stderr" \
            --status "$into/status" --log "$into/log" ${preload[@]+"${preload[@]}"} -- bash "$here/cases/$name.sh"
    ) || echo "supervisor failed" >"$into/status"
    rm -rf "$work"
}

# wrong_witness CASE: what the processes of the case say against it; empty when all is well. Each word of
# `proves` is a regular expression that the name of some executed program must match; so is each of
# `own-malloc`, and these programs bring a malloc of their own, which the library must leave alone.
wrong_witness() {
    local name=$1 program own seen=$run/$1/with/witness
    own=$(header "$name" own-malloc)
    for program in bash $(header "$name" proves) $own; do
        grep -qE "^($program) " "$seen" || echo "$program was never seen under the library"
    done
    LC_ALL=C sort "$seen" | uniq -c | while read -r count program verdict; do
        [ "$verdict" = in-charge ] || [[ $program =~ ^(${own// /|})$ ]] || echo "$program ran $count times with $verdict"
    done
    [ ! -s "$run/$name/without/witness" ] || echo "the library was loaded in the run without it"
}

# excerpt FILE: a few lines, none too long, indented.
excerpt() {
    head -n "${2:-25}" "$1" | cut -c 1-220 | sed 's/^/    /'
}

failed() {
    echo "FAILED $1: $2"
}

# judge CASE: the report of a case that ran on both sides.
judge() {
    local name=$1 at=$run/$1 status_without status_with file wrong
    status_without=$(head -n 1 "$at/without/status")
    status_with=$(head -n 1 "$at/with/status")
    if [ "$status_without" != "exit 0" ]; then
        failed "$name" "without the library already: $status_without"
        excerpt <(tail -n 12 "$at/without/stderr")
        excerpt <(tail -n 12 "$at/without/log")
        return
    fi
    wrong=$(wrong_witness "$name")
    if [ "$status_with" != "exit 0" ]; then
        failed "$name" "exit 0 without the library, $status_with with it"
        diff -u --label without --label with "$at/without/stderr" "$at/with/stderr" | excerpt /dev/stdin
        diff -u --label without --label with "$at/without/stdout" "$at/with/stdout" | excerpt /dev/stdin
        # A timeout's log ends with the stacks.
        case $status_with in timeout*) excerpt <(tail -n 400 "$at/with/log") 400 ;; *) excerpt <(tail -n 40 "$at/with/log") 40 ;; esac
        [ -z "$wrong" ] || excerpt - 10 <<<"$wrong"
        return
    fi
    for file in stdout stderr; do
        cmp -s "$at/without/$file" "$at/with/$file" && continue
        failed "$name" "$file differs"
        diff -u --label without --label with "$at/without/$file" "$at/with/$file" | excerpt /dev/stdin
        return
    done
    if [ -n "$wrong" ]; then
        failed "$name" "not in charge where it should be"
        excerpt - 10 <<<"$wrong"
        return
    fi
    if [ ! -s "$at/with/stdout" ]; then
        failed "$name" "printed nothing, so nothing was compared"
        return
    fi
    echo "ok $name  ($(sed -n 2p "$at/with/status") s)"
}

run_case() {
    local name=$1 packages
    mkdir "$run/$name"
    packages=$(missing "$name" | tr '\n' ' ')
    if [ -n "$in_charge_reason" ]; then
        failed "$name" "$in_charge_reason"
    elif [ -n "$packages" ]; then
        failed "$name" "programs missing: apt-get install -y ${packages% }"
    else
        run_side "$name" without
        run_side "$name" with
        judge "$name"
    fi >"$run/$name/report" 2>&1
    cat "$run/$name/report"
    [ -n "$keep" ] || rm -rf "$run/$name/with" "$run/$name/without"
}

# ---------------------------------------------------------------- all of them

running=0
for name in "${cases[@]}"; do
    if [ "$running" -ge "$jobs" ]; then
        wait -n
        running=$((running - 1))
    fi
    run_case "$name" &
    running=$((running + 1))
done
wait

passed=0
for name in "${cases[@]}"; do
    if grep -q '^ok ' "$run/$name/report" 2>/dev/null; then passed=$((passed + 1)); fi
done
echo "$passed passed, $((${#cases[@]} - passed)) failed"
[ "$passed" -eq "${#cases[@]}" ]
