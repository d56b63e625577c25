#!/usr/bin/env python3
"""What watching every allocation costs, beside other profilers on the same programs, interleaved.

    cargo build --release --features preload
    python3 benches/tracers.py [--rounds 3] [--only python,cc1plus,redis,c] [--by memray,heaptrack,...]

Prints one table a program: CPU time (user and system, of the program and of what its profiler runs beside it), that
over the program's alone, peak resident memory, bytes written; medians. A profiler that is not there is left out and
named. MEMRAY names a Python with memray (pip install memray), HEAPTRACK and JEMALLOC the others' files
(apt install heaptrack libjemalloc2).
"""
import argparse
import glob
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
PYMALLOC = os.path.join(TARGET, "release", "pymalloc")
LIBRARY = os.path.join(TARGET, "release", "libpymalloc.so")
PYTHON = os.environ.get("MEMRAY", sys.executable)
HEAPTRACK = os.environ.get("HEAPTRACK", shutil.which("heaptrack") or "")
JEMALLOC = os.environ.get("JEMALLOC", "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2")

SCRIPT = """
import json
text = json.dumps([{"id": n, "name": "name %d" % n, "tags": ["a", "b", str(n)]} for n in range(6000)])
for _ in range(8):
    data = json.loads(text)
    assert len(json.dumps(data)) == len(text)
"""

LOOP = """
#include <stdlib.h>
/* Random blocks of 16 to 1000 bytes, replaced one by one. */
static void *kept[4096];
static unsigned seed = 1;
static unsigned next(void) { return seed = seed * 1664525u + 1013904223u; }
static __attribute__((noinline)) void *make(unsigned n) { char *p = malloc(n); p[0] = 1; return p; }
int main(void) {
    for (int i = 0; i < 2000000; i++) {
        unsigned at = next() >> 20;
        free(kept[at]);
        kept[at] = make(16 + (next() >> 8) % 985);
    }
    for (int i = 0; i < 4096; i++) free(kept[i]);
    return 0;
}
"""

SOURCE = """
#include <map>
#include <regex>
#include <string>
#include <unordered_map>
#include <vector>
int main(int n, char **) {
    std::map<std::string, std::vector<int>> ordered;
    std::unordered_map<std::string, std::map<int, std::string>> other;
    ordered["a"].push_back(n);
    other["b"][n] = std::regex_replace(std::string("text"), std::regex("t+"), "x");
    return int(ordered.size() + other.size());
}
"""


class Place:
    """A folder with the programs."""

    def __init__(self, folder):
        self.folder = folder
        self.script = self.write("script.py", SCRIPT)
        self.loop = os.path.join(folder, "loop")
        subprocess.run(["gcc", "-O1", "-g", "-fno-builtin", "-o", self.loop, self.write("loop.c", LOOP)], check=True)
        source = self.write("source.cc", SOURCE)
        self.text = os.path.join(folder, "source.ii")
        subprocess.run(["g++", "-E", "-o", self.text, source], check=True)
        found = subprocess.run(["g++", "-print-prog-name=cc1plus"], check=True, capture_output=True, text=True)
        self.cc1plus = found.stdout.strip()
        self.socket = os.path.join(folder, "redis.sock")

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf8") as file:
            file.write(text)
        return path

    def programs(self):
        redis = ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "", "--appendonly", "no"]
        return {
            "python": ("python3: JSON (`PYTHONMALLOC=malloc`)", [PYTHON, self.script]),
            "cc1plus": ("`cc1plus -O1`", [self.cc1plus, "-quiet", "-O1", self.text, "-o", "/dev/null"]),
            "redis": ("redis, pipelines of 100", redis),
            "c": ("C: random blocks replaced", [self.loop]),
        }


def contenders():
    """Name: (label, words before the program, environment, pattern of the files it writes, needs)."""
    ours = [PYMALLOC, "profile", "-o", "{out}"]
    memray = [PYTHON, "-m", "memray", "run", "-q", "-o", "{out}"]
    jemalloc = {"LD_PRELOAD": JEMALLOC}
    conf = "prof:true,prof_prefix:{out},prof_final:true,lg_prof_sample:"
    return {
        "alone": ("alone", [], {}, "", None),
        "library": ("pymalloc alone", [PYMALLOC, "run"], {}, "", None),
        "1": ("`profile --frames 1`", ours + ["--frames", "1"], {}, "{out}", None),
        "32": ("`profile --frames 32`", ours + ["--frames", "32"], {}, "{out}", None),
        "512K": ("`profile --sample 512K`", ours + ["--sample", "512K"], {}, "{out}", None),
        "memray": ("memray, Python's stacks", memray + ["--trace-python-allocators"], {}, "{out}", "memray"),
        "memray-native": ("memray `--native`", memray + ["--native", "--trace-python-allocators"], {}, "{out}", "memray"),
        "heaptrack": ("heaptrack", [HEAPTRACK, "-o", "{out}"], {}, "{out}*", "heaptrack"),
        "jemalloc": ("jemalloc's profiler, every allocation", [], {**jemalloc, "MALLOC_CONF": conf + "0"}, "{out}*", "jemalloc"),
        "jemalloc-512K": ("jemalloc's profiler, every 512 KiB", [], {**jemalloc, "MALLOC_CONF": conf + "19"}, "{out}*", "jemalloc"),
    }


def is_there(needs):
    if needs == "memray":
        return subprocess.run([PYTHON, "-c", "import memray"], capture_output=True).returncode == 0
    if needs == "heaptrack":
        return bool(HEAPTRACK)
    if needs == "jemalloc":
        return os.path.exists(JEMALLOC)
    return True


def load(socket):
    """What redis is asked to do."""
    words = ["redis-benchmark", "-s", socket, "-q", "-P", "100", "-n", "300000", "-r", "50000"]
    subprocess.run(words + ["-d", "100", "-t", "set,lpush,rpop"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["redis-cli", "-s", socket, "shutdown", "nosave"], check=False, stdout=subprocess.DEVNULL)


def run(place, name, program, contender, number):
    _, before, environment, pattern, _ = contender
    out = os.path.join(place.folder, f"out{number}")
    fill = lambda word: word.replace("{out}", out)
    words = list(program)
    if before[:1] == [PYTHON]:
        words = words[1:]
    env = {**os.environ, "PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "PYMALLOC_LIB": LIBRARY}
    env.update({key: fill(value) for key, value in environment.items()})
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    child = subprocess.Popen([fill(word) for word in before] + words, env=env, cwd=place.folder, **quiet)
    if name == "redis":
        for _ in range(200):
            if os.path.exists(place.socket):
                break
            time.sleep(0.05)
        load(place.socket)
    said = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        print(f"{name} under {contender[0]}: status {status}: {said.decode(errors='replace')}", file=sys.stderr)
    written = glob.glob(fill(pattern)) if pattern else []
    size = sum(os.path.getsize(path) for path in written)
    for path in written:
        os.remove(path)
    # `ru_maxrss` of a child is at least what this process had when it forked: some 10 MiB.
    return (usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, size / 1e6), status == 0


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--only", default="python,cc1plus,redis,c")
    ask.add_argument("--by", default="")
    options = ask.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    chosen = {name: row for name, row in contenders().items() if not options.by or name in options.by.split(",") or name == "alone"}
    for needs in ("memray", "heaptrack", "jemalloc"):
        if not is_there(needs):
            print(f"{needs} is not there, and left out", file=sys.stderr)
            chosen = {name: row for name, row in chosen.items() if row[4] != needs}
    with tempfile.TemporaryDirectory() as folder:
        place = Place(folder)
        for name, (label, program) in place.programs().items():
            if name not in options.only.split(","):
                continue
            # memray is for Python; heaptrack 1.4 takes 18 GiB for cc1plus, then ends with std::bad_alloc.
            left_out = {"python": [], "cc1plus": ["memray", "heaptrack"]}.get(name, ["memray"])
            rows = {key: row for key, row in chosen.items() if row[4] not in left_out}
            figures = {key: [] for key in rows}
            for number in range(options.rounds):
                for key, row in rows.items():
                    found, is_whole = run(place, name, program, row, number)
                    figures[key].append(found)
                    if not is_whole and "failed" not in rows[key][0]:
                        rows[key] = (row[0] + ", which failed", *row[1:])
            report(label, rows, figures)


def report(label, rows, figures):
    alone = statistics.median(cpu for cpu, _, _ in figures["alone"])
    print(f"| {label} | CPU | of the program alone | peak RSS | file |\n|---|---|---|---|---|")
    for key, row in rows.items():
        cpu, memory, size = (statistics.median(column) for column in zip(*figures[key]))
        file = f"{size:.2f} MB" if size else ""
        print(f"| {row[0]} | {cpu:.3f} s | {cpu / alone:.2f} | {memory:.0f} MiB | {file} |")
    print(flush=True)


if __name__ == "__main__":
    main()
