#!/usr/bin/env bash
# The three-minute tour: every command that shows memory, on real programs, each answer checked.
#
#   tests/tour.sh [--keep DIR]      wants gcc, rustc, g++, python3, redis, prometheus and chromium
#
# What is not installed is said at the end. Two more consumers are used where they are named: a python3 with
# memory_profiler and matplotlib (MPROF_PYTHON), and a folder of npm with speedscope in it (SPEEDSCOPE).
# It builds the preload library and the launcher into target/preload, as the tests do.
set -euo pipefail
cd "$(dirname "$0")/.."
HERE=$PWD
DIR=$(mktemp -d)
[ "${1:-}" = --keep ] && { DIR=$(realpath -m "$2"); mkdir -p "$DIR"; }
REDIS_PORT=${REDIS_PORT:-7393}
PORT=${METRICS_PORT:-9193}
MPROF_PYTHON=${MPROF_PYTHON:-python3}
STARTED=()
LEFT_OUT=()
cleanup() {
    for pid in "${STARTED[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    mountpoint -q "$DIR/small" && umount "$DIR/small"
    return 0
}
trap cleanup EXIT

step() { printf '\n== %s\n' "$*"; }
# Prints the first lines of a text and makes sure that it holds what it should.
shows() {
    local wanted=$1 lines=$2 text
    text=$(cat)
    printf '%s\n' "$text" | sed -n "1,${lines}p"
    case $text in *"$wanted"*) ;; *) printf 'missing: %s\n' "$wanted" >&2; exit 1 ;; esac
}
has() { command -v "$1" >/dev/null && return 0; LEFT_OUT+=("$1"); return 1; }
get() { python3 -c "import sys,urllib.request as u; sys.stdout.buffer.write(u.urlopen('$1').read())"; }
line_of() { grep -n "$2" "$1" | cut -d: -f1; }

step "the library, the launcher, Rust programs that serve and record themselves"
cargo build --quiet --release --features png -p pymalloc --target-dir target/preload
cargo build --quiet --release --example serve --example object_leak --features objects,symbols -p pymalloc \
    --config 'profile.release.debug="line-tables-only"' --target-dir target/symbols
P=$HERE/target/preload/release/pymalloc
cd "$DIR"

step "a leak planted in a C program, to its line"
gcc -O1 -g -fno-inline -fno-builtin "$HERE/tests/profile/leak.c" -o leak
"$P" profile -o leak.pmrec ./leak
"$P" report leaks --limit 1 leak.pmrec | shows "leak.c:$(line_of "$HERE/tests/profile/leak.c" 'LEAK \*/')" 5

step "a leak planted in a multi-threaded Rust program, to its line"
rustc --edition=2021 -O -g "$HERE/tests/profile/threads.rs" -o threads
"$P" profile -o threads.pmrec ./threads
"$P" report leaks --limit 1 threads.pmrec | shows "threads.rs:$(line_of "$HERE/tests/profile/threads.rs" '// LEAK')" 5
"$P" report summary threads.pmrec | shows "thread" 6
"$P" report flamegraph threads.pmrec -o threads.svg
"$P" mem --blocks --interval 0.01 --plot threads_mem.svg -o threads.dat ./threads

step "a leak of objects in a Rust program that records itself, to its line"
OBJECTS=$HERE/target/symbols/release/examples/object_leak
OBJECT_LINE=$(($(line_of "$HERE/examples/object_leak.rs" '// MADE') - 4))
"$OBJECTS" | shows "line $OBJECT_LINE" 5
PYMALLOC_RECORD=$PWD/objects.pmrec PYMALLOC_TRACE=25 "$OBJECTS" >/dev/null
"$P" report leaks objects.pmrec | shows "object_leak.rs:$OBJECT_LINE" 12
"$P" profile -o launched.pmrec "$OBJECTS" >/dev/null
"$P" report leaks launched.pmrec | shows "→ connect  $HERE/examples/object_leak.rs:$OBJECT_LINE" 0

step "a planted fragmentation, explained"
gcc -O1 -g -fno-inline -fno-builtin "$HERE/tests/profile/fragments.c" -o fragments
"$P" profile -o fragments.pmrec ./fragments
"$P" why fragments.pmrec -o arenas.html | shows "fragments.c:" 12
"$P" why fragments.pmrec -o arenas.svg >/dev/null
"$P" why fragments.pmrec -o arenas.png >/dev/null

step "python3"
export PYTHONMALLOC=malloc
cat >work.py <<'PY'
import ctypes, json
mark = getattr(ctypes.CDLL(None), "pymalloc_mark", lambda kind, name: None)
mark(1, b"make")
rows = [{"id": i, "tags": [str(i)] * 5} for i in range(20000)]
mark(2, b"make")
mark(1, b"write and read")
text = json.dumps(rows)
print(len(json.loads(text)))
mark(2, b"write and read")
PY
"$P" run --stats python3 work.py 2>&1 | shows "arenas" 8
"$P" record -o plain.pmrec python3 work.py
"$P" profile --frames 32 -o python.pmrec python3 work.py
"$P" report summary python.pmrec | shows "high-water mark" 8
"$P" report table --by total --limit 3 python.pmrec | shows "place" 5
"$P" report temporary --limit 3 python.pmrec | shows "allocated and freed soon after" 5
"$P" report tree --by peak python.pmrec | shows "live at the high-water mark" 6
"$P" report flamegraph python.pmrec -o flame.html
for format in pprof speedscope dhat folded json; do "$P" report $format python.pmrec -o "python.$format"; done
"$P" profile --frames 32 -o python2.pmrec python3 -c 'print(1)' && "$P" report diff python2.pmrec python.pmrec | shows "change" 5
"$P" why --limit 3 python.pmrec | shows "arenas of 1 MiB" 6

step "python3: memory over time, with the program's own marks"
"$P" mem --blocks --interval 0.01 --plot mem.html -o mem.dat python3 work.py
"$P" mem --blocks --interval 0.01 --plot mem.svg -o mem2.dat python3 work.py
"$P" mem --blocks --interval 0.01 --plot mem.png -o mem3.dat python3 work.py
grep '^FUNC' mem.dat | shows "FUNC write_and_read " 3

step "python3, sampled for production"
"$P" profile --sample 512K -o sampled.pmrec python3 work.py
"$P" report summary sampled.pmrec | shows "a sample of one block in 512.0 KiB" 4

step "a g++ compile, with the processes it starts"
"$P" profile --follow --sample 512K -o gxx.pmrec g++ -O1 -c "$HERE/tests/real_programs/inputs/cxx_work.cpp" -o cxx.o 2>&1 | tail -2
COMPILER=$(ls -S gxx.pmrec.* | head -1)
"$P" report table --limit 3 "$COMPILER" | shows "live at the high-water mark" 5
"$P" report flamegraph "$COMPILER" -o gxx.html
"$P" report flamegraph "$COMPILER" -o gxx.png
"$P" mem --follow -o gxx.dat g++ -O1 -c "$HERE/tests/real_programs/inputs/cxx_work.cpp" -o cxx.o
awk '/^MEM/ && $2 > most { most = $2 } END { exit !(most > 20) }' gxx.dat || { echo "the compiler is not in gxx.dat" >&2; exit 1; }

step "redis under load: recorded, and watched while it runs"
if has redis-server; then
    "$P" profile -o redis.pmrec redis-server --port "$REDIS_PORT" --save '' --appendonly no >redis.log 2>&1 &
    RECORDED=$!
    STARTED+=($RECORDED)
    load() {
        for _ in $(seq 100); do redis-cli -p "$1" ping >/dev/null 2>&1 && break; sleep 0.1; done
        redis-benchmark -p "$1" -n "$2" -d 100 -r 5000 -t set,lpush -q | tr '\r' '\n' | tail -1
    }
    load "$REDIS_PORT" 5000
    "$P" live --once redis.pmrec | shows "live " 12
    "$P" serve --listen "127.0.0.1:$((PORT + 3))" redis.pmrec 2>serve.log &
    STARTED+=($!)
    for _ in $(seq 50); do grep -q serving serve.log && break; sleep 0.1; done
    get "http://127.0.0.1:$((PORT + 3))/metrics" | shows "pymalloc_live_bytes" 4
    redis-cli -p "$REDIS_PORT" shutdown nosave >/dev/null 2>&1 || true
    wait "$RECORDED" || true
    "$P" report summary redis.pmrec | shows "high-water mark" 6
fi

step "redis under load and a Rust program serve themselves; Prometheus scrapes both"
TARGETS="'127.0.0.1:$((PORT + 1))'"
"$HERE/target/symbols/release/examples/serve" "127.0.0.1:$((PORT + 1))" 40 >/dev/null &
STARTED+=($!)
if has redis-server; then
    "$P" serve --listen "127.0.0.1:$PORT" --sample 64K redis-server --port "$((REDIS_PORT + 1))" --save '' --appendonly no >redis2.log 2>&1 &
    STARTED+=($!)
    TARGETS="$TARGETS, '127.0.0.1:$PORT'"
    load "$((REDIS_PORT + 1))" 20000
    get "http://127.0.0.1:$PORT/metrics" | grep -v '^#' | shows "pymalloc_block_bytes" 4
    get "http://127.0.0.1:$PORT/debug/pprof/heap" >redis.pprof
fi
sleep 2
get "http://127.0.0.1:$((PORT + 1))/debug/pprof/heap" >rust.pprof
if has prometheus; then
    get "http://127.0.0.1:$((PORT + 1))/metrics" | promtool check metrics 2>&1 | grep -i 'error' && exit 1
    cat >prometheus.yml <<YML
global: {scrape_interval: 1s}
scrape_configs: [{job_name: pymalloc, static_configs: [{targets: [$TARGETS]}]}]
YML
    prometheus --config.file=prometheus.yml --storage.tsdb.path=tsdb --web.listen-address="127.0.0.1:$((PORT + 2))" >prometheus.log 2>&1 &
    STARTED+=($!)
    ask() { get "http://127.0.0.1:$((PORT + 2))/api/v1/query?query=$1" 2>/dev/null || true; }
    N=$(($(grep -o , <<<"$TARGETS" | wc -l) + 1))
    for _ in $(seq 60); do
        UP=$(ask 'sum(up)')
        case $UP in *",\"$N\"]"*) break ;; esac
        sleep 0.5
    done
    printf '%s\n' "$UP" | shows ",\"$N\"]" 1
    for name in pymalloc_block_bytes 'pymalloc_arena_used_bytes{rank="1"}' pymalloc_threads_started_total; do
        ask "$(python3 -c "import sys,urllib.parse as p; print(p.quote(sys.argv[1]))" "$name")" | shows '"value"' 1
    done
fi
redis-cli -p "$((REDIS_PORT + 1))" shutdown nosave >/dev/null 2>&1 || true

step "what goes wrong is said"
head -c 3000 python.pmrec >cut.pmrec
"$P" report summary cut.pmrec 2>&1 | shows "cut off" 2
{ "$P" report summary work.py 2>&1 || true; } | shows "not a pymalloc recording" 1
python3 - <<'PY'
data = bytearray(open("leak.pmrec", "rb").read())
data[8] = 99
open("newer.pmrec", "wb").write(data)
PY
{ "$P" report summary newer.pmrec 2>&1 || true; } | shows "version" 1
if [ "$(id -u)" = 0 ] && mkdir -p small && mount -t tmpfs -o size=256k tmpfs small 2>/dev/null; then
    "$P" profile -o small/full.pmrec python3 work.py 2>&1 | shows "is the disk full?" 4
    "$P" report summary small/full.pmrec 2>&1 | shows "high-water mark" 3
    umount small
else
    LEFT_OUT+=("a full disk (needs root and mount)")
fi
python3 - "$P" <<'PY'
# Ctrl-C, as a terminal does it: to the whole group.
import os, signal, subprocess, sys, time
script = "x = [bytes(i % 900) for i in range(20000)]; print('ready', flush=True); import time; time.sleep(60)"
signal.signal(signal.SIGINT, signal.SIG_DFL)
run = subprocess.Popen([sys.argv[1], "profile", "-o", "interrupted.pmrec", "python3", "-c", script],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
run.stdout.readline()
os.killpg(run.pid, signal.SIGINT)
run.communicate()
PY
"$P" report summary interrupted.pmrec 2>&1 | shows "high-water mark" 6

step "what the consumers say of the files"
python3 "$HERE/tests/tour/consumers.py" python.pprof rust.pprof python.speedscope python.dhat "${SPEEDSCOPE:-}"
python3 "$HERE/tests/tour/images.py" mem.png arenas.png
grep -q . python.folded && python3 -c 'import json; json.load(open("python.json"))'
if "$MPROF_PYTHON" -c 'import memory_profiler, matplotlib' 2>/dev/null; then
    "$MPROF_PYTHON" -m mprof plot --output mprof.png --backend agg mem.dat >/dev/null && ls -l mprof.png
else
    LEFT_OUT+=("mprof plot (MPROF_PYTHON)")
fi
if has chromium; then
    python3 "$HERE/tests/tour/pictures.py" . flame.html gxx.html arenas.html arenas.svg mem.html threads_mem.svg threads.svg
    python3 "$HERE/tests/tour/viewers.py" . python.dhat python.speedscope "${SPEEDSCOPE:-}"
fi
[ ${#LEFT_OUT[@]} = 0 ] || printf 'left out, because it is not here: %s\n' "${LEFT_OUT[@]}"
step "all of it holds; files in $DIR"
