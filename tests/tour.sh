#!/usr/bin/env bash
# The three-minute tour: every command that shows memory, on real programs, each answer checked.
#
#   tests/tour.sh [--keep DIR]      wants gcc, rustc, g++, python3, redis; uses chromium and prometheus if there
#
# It builds the preload library and the launcher into target/preload, as the tests do.
set -euo pipefail
cd "$(dirname "$0")/.."
HERE=$PWD
DIR=$(mktemp -d)
[ "${1:-}" = --keep ] && { DIR=$(realpath -m "$2"); mkdir -p "$DIR"; }
REDIS_PORT=${REDIS_PORT:-7393}
METRICS_PORT=${METRICS_PORT:-9193}
STARTED=()
cleanup() { for pid in "${STARTED[@]}"; do kill "$pid" 2>/dev/null || true; done; wait 2>/dev/null || true; }
trap cleanup EXIT

step() { printf '\n== %s\n' "$*"; }
# Prints the first lines of a text and makes sure that it holds what it should.
shows() {
    local wanted=$1 lines=$2 text
    text=$(cat)
    printf '%s\n' "$text" | sed -n "1,${lines}p"
    case $text in *"$wanted"*) ;; *) printf 'missing: %s\n' "$wanted" >&2; exit 1 ;; esac
}

step "the library and the launcher"
cargo build --quiet --release --features preload -p pymalloc --target-dir target/preload
P=$HERE/target/preload/release/pymalloc
cd "$DIR"

step "a leak planted in a C program, to its line"
gcc -O1 -g -fno-inline -fno-builtin "$HERE/tests/profile/leak.c" -o leak
"$P" profile -o leak.pmrec ./leak
LINE=$(grep -n 'LEAK \*/' "$HERE/tests/profile/leak.c" | cut -d: -f1)
"$P" report leaks --limit 1 leak.pmrec | shows "leak.c:$LINE" 5

step "a leak planted in a multi-threaded Rust program"
rustc --edition=2021 -O -g "$HERE/tests/profile/threads.rs" -o threads
"$P" profile -o threads.pmrec ./threads
LINE=$(grep -n '// LEAK' "$HERE/tests/profile/threads.rs" | cut -d: -f1)
"$P" report leaks --limit 1 threads.pmrec | shows "threads.rs:$LINE" 5

step "a planted fragmentation, explained"
gcc -O1 -g -fno-inline -fno-builtin "$HERE/tests/profile/fragments.c" -o fragments
"$P" profile -o fragments.pmrec ./fragments
"$P" why fragments.pmrec -o arenas.html | shows "by place" 12
"$P" why fragments.pmrec -o arenas.svg >/dev/null

step "python3"
export PYTHONMALLOC=malloc
cat >work.py <<'PY'
import json
rows = [{"id": i, "tags": [str(i)] * 5} for i in range(20000)]
text = json.dumps(rows)
print(len(json.loads(text)))
PY
"$P" profile --frames 32 -o python.pmrec python3 work.py
"$P" report summary python.pmrec | shows "high-water mark" 8
"$P" report temporary --limit 3 python.pmrec | shows "allocated and freed soon after" 5
"$P" report tree --by peak python.pmrec | shows "live at the high-water mark" 6
"$P" report flamegraph python.pmrec -o flame.html
for format in pprof speedscope dhat folded json; do "$P" report $format python.pmrec -o "python.$format"; done
"$P" profile --frames 32 -o python2.pmrec python3 -c 'print(1)' && "$P" report diff python2.pmrec python.pmrec | shows "change" 5

step "python3, memory over time"
"$P" mem --blocks --interval 0.01 --plot mem.html -o mem.dat python3 work.py
shows "MEM " 3 <mem.dat

step "python3, sampled for production"
"$P" profile --sample 512K -o sampled.pmrec python3 work.py
"$P" report summary sampled.pmrec | shows "a sample of one block in 512.0 KiB" 4

step "a g++ compile, with the processes it starts"
"$P" profile --follow --sample 512K -o gxx.pmrec g++ -O1 -c "$HERE/tests/real_programs/inputs/cxx_work.cpp" -o cxx.o 2>&1 | tail -2
COMPILER=$(ls -S gxx.pmrec.* | head -1)
"$P" report table --limit 3 "$COMPILER" | shows "live at the high-water mark" 5

step "redis under load, live and served"
if command -v redis-server >/dev/null; then
    "$P" profile -o redis.pmrec redis-server --port "$REDIS_PORT" --save '' --appendonly no >redis.log 2>&1 &
    STARTED+=($!)
    for _ in $(seq 100); do redis-cli -p "$REDIS_PORT" ping >/dev/null 2>&1 && break; sleep 0.1; done
    redis-benchmark -p "$REDIS_PORT" -n 5000 -d 100 -r 5000 -t set,lpush -q | tr '\r' '\n' | tail -1
    "$P" live --once redis.pmrec | shows "live " 12
    "$P" serve --listen "127.0.0.1:$METRICS_PORT" redis.pmrec 2>serve.log &
    STARTED+=($!)
    for _ in $(seq 50); do grep -q serving serve.log && break; sleep 0.1; done
    scrape() { python3 -c "import sys,urllib.request as u; sys.stdout.buffer.write(u.urlopen('http://127.0.0.1:$METRICS_PORT$1').read())"; }
    scrape /metrics | shows "pymalloc_live_bytes" 4
    scrape /debug/pprof/heap >redis.pprof
    if command -v prometheus >/dev/null; then
        step "Prometheus scrapes it"
        cat >prometheus.yml <<YML
global: {scrape_interval: 1s}
scrape_configs: [{job_name: pymalloc, static_configs: [{targets: ['127.0.0.1:$METRICS_PORT']}]}]
YML
        prometheus --config.file=prometheus.yml --storage.tsdb.path=tsdb --web.listen-address=127.0.0.1:9194 >prometheus.log 2>&1 &
        STARTED+=($!)
        for _ in $(seq 60); do
            ANSWER=$(python3 -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9194/api/v1/query?query=pymalloc_live_bytes').read().decode())" 2>/dev/null || true)
            case $ANSWER in *'"value"'*) break ;; esac
            sleep 0.5
        done
        printf '%s\n' "$ANSWER" | shows '"__name__":"pymalloc_live_bytes"' 1
    fi
    redis-cli -p "$REDIS_PORT" shutdown nosave >/dev/null 2>&1 || true
else
    echo "redis-server is not installed: left out"
fi

step "what the consumers say of the files"
python3 - <<'PY'
import gzip, json
# pprof: every field by profile.proto's numbers, every reference by a table.
data = gzip.open("python.pprof").read()
def fields(data):
    at = 0
    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]; at += 1
            value |= (byte & 127) << shift; shift += 7
            if byte < 128: return value
    while at < len(data):
        key = varint()
        if key & 7 == 0: yield key >> 3, varint()
        else:
            assert key & 7 == 2, key
            n = varint(); yield key >> 3, data[at:at + n]; at += n
kinds = [number for number, _ in fields(data)]
assert set(kinds) <= set(range(1, 15)), set(kinds)
print("pprof:", kinds.count(2), "samples,", kinds.count(4), "locations,", kinds.count(5), "functions")
scope = json.load(open("python.speedscope"))
assert scope["$schema"].endswith("speedscope.app/file-format-schema.json")
frames = len(scope["shared"]["frames"])
for profile in scope["profiles"]:
    assert profile["type"] == "sampled" and len(profile["samples"]) == len(profile["weights"])
    assert all(0 <= frame < frames for sample in profile["samples"] for frame in sample)
print("speedscope:", frames, "frames,", len(scope["profiles"]), "profiles")
dhat = json.load(open("python.dhat"))
assert dhat["dhatFileVersion"] == 2 and all(0 <= f < len(dhat["ftbl"]) for pp in dhat["pps"] for f in pp["fs"])
print("dhat:", len(dhat["pps"]), "program points")
PY
if python3 -c 'import memory_profiler, matplotlib' 2>/dev/null; then
    python3 -m mprof plot --output mprof.png --backend agg mem.dat && ls -l mprof.png
else
    echo "mprof plot: memory_profiler and matplotlib are not installed: left out"
fi
if command -v chromium >/dev/null; then
    for page in flame arenas mem; do
        chromium --headless --no-sandbox --disable-gpu --window-size=1200,800 --screenshot="$DIR/$page.png" "file://$DIR/$page.html" >/dev/null 2>&1
        python3 - "$DIR/$page.png" <<'PY'
import struct, sys, zlib
data = open(sys.argv[1], "rb").read()
assert data[:8] == b"\x89PNG\r\n\x1a\n"
width, height = struct.unpack(">II", data[16:24])
at, packed = 8, b""
while at < len(data):
    n, kind = struct.unpack(">I4s", data[at:at + 8])
    if kind == b"IDAT": packed += data[at + 8:at + 8 + n]
    at += 12 + n
colours = len(set(zlib.decompress(packed)[::7]))
assert colours > 8, "the page is blank"
print(sys.argv[1], f"{width} x {height}, not blank")
PY
    done
else
    echo "chromium is not installed: no pictures"
fi
step "all of it holds; files in $DIR"
