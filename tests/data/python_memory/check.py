"""Runs the document's snippets as they are typed, and prints `label => value` for each fact about them."""
import code, contextlib, gc, io, os, sys, tempfile, tracemalloc, weakref
from sys import getsizeof

SNIPPETS = open(sys.argv[1], encoding="utf-8").read().split("----\n")


def fact(label, value):
    print(f"{label} => {value}")


def typed(n, after={}):
    """Types snippet n, line by line; calls after[line] with the names. Returns what it printed."""
    console, printed = code.InteractiveConsole(), io.StringIO()
    for line in SNIPPETS[n].splitlines():
        with contextlib.redirect_stdout(printed):
            assert not console.push(line), line
        line = line.split("#")[0].strip()
        if line in after:
            after[line](console.locals)
    return printed.getvalue().split("\n")[:-1], console.locals


class D:
    dead = 0
    def __del__(self):
        D.dead += 1


def left():
    return sum(type(o) is list and o == [1, 2, 3] for o in gc.get_objects())


def pooled_bytes():
    """Bytes in allocated blocks, from CPython's report."""
    with tempfile.TemporaryFile() as report:
        saved = os.dup(2)
        os.dup2(report.fileno(), 2)
        sys._debugmallocstats()
        os.dup2(saved, 2)
        os.close(saved)
        report.seek(0)
        line = next(line for line in report.read().decode().splitlines() if "bytes in allocated blocks" in line)
    return int(line.split("=")[1].strip().replace(",", ""))


one, texts = 1000, "text"  # not shared; interned
for x in (None, True, 7, 1.5, "text", b"bytes", (one, texts), [one, texts], {texts: one}, {one}, D()):
    kind = "object" if isinstance(x, D) else type(x).__name__
    fact(f"an object of kind {kind}, bytes", getsizeof(x))
x = None

_, names = typed(0)
fact("b = a; b is a", names["b"] is names["a"])
names["a"].append(4)
fact("a.append(4); b", names["b"])
names["b"] = [0]
fact("b = [0]; a", names["a"])

for size in (480, 600):
    before = pooled_bytes()
    blocks = [bytes(size - 33) for _ in range(10000)]
    fact(f"thousands of blocks from pools for 10000 objects of {size} bytes", round((pooled_bytes() - before) / size / 1000))
    del blocks

for n in (0, 1, 2**30, 2**60, 10**100):
    fact(f"getsizeof({n})" if n < 10**99 else "getsizeof(10**100)", getsizeof(n))
a = []
sizes = []
for n in range(20):
    a.append(n)
    sizes.append(getsizeof(a))
fact("getsizeof after each append", sizes)

lines, names = typed(1)
id1, id2 = lines[0].split()
fact("x = [4, 5]; id1 == id2", id1 == id2)
lines, names = typed(2)
fact("lst.append(3); id1 == id2", lines[0])

names = None
typed(3, {
    "a = [1, 2, 3]": lambda names: fact("a = [1, 2, 3]; such lists", left()),
    "del a": lambda names: fact("del a; getrefcount(b)", sys.getrefcount(names["b"])),
    "del b": lambda names: fact("del b; such lists", left()),
})
D.dead = 0
a = D(); b = a
del a
fact("del a; finalizers that ran", D.dead)
del b
fact("del b; finalizers that ran", D.dead)

gc.collect(); gc.disable()
a, b = D(), D()
a.other, b.other = b, a
D.dead = 0
del a, b
fact("a cycle, no name left; finalizers that ran", D.dead)
fact("gc.collect()", gc.collect())
fact("finalizers that ran by then", D.dead)
a = []
a.append(a)
del a
fact("a list in itself; gc.collect()", gc.collect())
gc.enable()
D.dead = 0
for _ in range(5000):
    a = D(); a.me = a
fact("5000 cycles; some were collected without a call", D.dead > 0)
a = None; gc.collect()
fact("after gc.collect(), all", D.dead)

lines, _ = typed(4)
for label, value in zip(("a = [1, 2, 3]", "b = a", "del b"), lines):
    fact(f"{label}; getrefcount(a)", value)
def count(argument):
    return sys.getrefcount(argument)
a = [1, 2, 3]
fact("as a function's argument; getrefcount(a)", count(a))
holder = [a, a]
fact("twice in a list; getrefcount(a)", sys.getrefcount(a))
del holder
fact("del holder; getrefcount(a)", sys.getrefcount(a))
lines, _ = typed(5)
fact("a = 100; b = 100; id(a) == id(b)", lines[0])
fact("a = 1000; b = 1000; id(a) == id(b)", lines[1])
fact("shared ints", [n for n in range(-20, 300) if int(str(n)) is int(str(n))][::261])

a = D(); i = id(a)
del a
a = D()
fact("a freed place is used again at once", id(a) == i)

fact("gc.isenabled()", gc.isenabled())
gc.disable()
fact("gc.disable(); gc.isenabled()", gc.isenabled())
gc.enable()
fact("gc.get_threshold()", gc.get_threshold())
leaf = [one]
holder, other = [leaf, texts], {texts: leaf}
fact("gc.get_referents(holder)", gc.get_referents(holder))
referrers = gc.get_referrers(leaf)
fact("holder and other refer to leaf", holder in referrers and other in referrers)
fact("gc.is_tracked(leaf), gc.is_tracked(texts)", (gc.is_tracked(leaf), gc.is_tracked(texts)))

before = tracemalloc.is_tracing()
tracemalloc.start(1)
first = tracemalloc.take_snapshot()
blocks = [bytes(10000) for _ in range(100)]
tracing = tracemalloc.is_tracing()
second = tracemalloc.take_snapshot()
current, peak = tracemalloc.get_traced_memory()
del blocks
third = tracemalloc.take_snapshot()
made, gone = second.compare_to(first, "lineno")[0], third.compare_to(second, "lineno")[0]
tracemalloc.stop()
fact("is_tracing() before, while, after", (before, tracing, tracemalloc.is_tracing()))
fact("100 of 10000 bytes; megabytes more from one line", round(made.size_diff / 1e6, 1))
fact("the same, in blocks", made.count_diff // 100 * 100)
fact("deleted; megabytes more from one line", round(gone.size_diff / 1e6, 1))
fact("get_traced_memory() had at least a megabyte, the peak more", current <= peak and current >= 1000000)
fact("stop(); get_traced_memory()", tracemalloc.get_traced_memory())


def resident():
    """MiB of memory the process has, which is what memory_profiler shows by line."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def whole(mib):
    return round(mib / 32) * 32


first = second = third = made = gone = None
start = resident()
big = b"\1" * (32 << 20)
full = resident()
del big
fact("big = 32 MiB; MiB more", whole(full - start))
fact("del big; MiB more than at the start", whole(resident() - start))


def count_of(name):
    return sum(type(o).__name__ == name for o in gc.get_objects())


def chain(start, is_end, neighbours):
    """A shortest way from start to an end, both included."""
    ways, seen = [[start]], {id(start)}
    while ways:
        way = ways.pop(0)
        if is_end(way[-1]):
            return way
        for o in neighbours(way[-1]):
            if id(o) not in seen and o is not way and type(o).__name__ in ("list", "dict", "D"):
                seen.add(id(o))
                ways.append(way + [o])


def kinds(objects):
    return " -> ".join(type(o).__name__ for o in objects)


a = b = parent = child = x = None
gc.collect()
old = count_of("D")
leaked = [D(), D(), D()]
cache = [{"leaked": leaked}]
one = leaked[2]
leaked = None
fact("count('D')", count_of("D"))
fact("show_growth()", "%s%9d %+9d" % ("D", count_of("D"), count_of("D") - old))
fact("find_backref_chain(one, cache)", kinds(chain(one, lambda o: o is cache, gc.get_referrers)[::-1]))
fact("find_ref_chain(cache, one)", kinds(chain(cache, lambda o: isinstance(o, D), gc.get_referents)))
fact("at(id(one)) is one", any(o is one for o in gc.get_objects() if id(o) == id(one)))

cache = one = None
D.dead = 0
a = D()
counts, names = [sys.getrefcount(a)], [a]
del a
for _ in range(2):
    names.append(names[0])
    counts.append(sys.getrefcount(names[0]))
while names:
    names.pop()
    if names:
        counts.append(sys.getrefcount(names[0]))
fact("getrefcount, name by name", counts)
fact("no name left; finalizers that ran", D.dead)

D.dead = 0
parent, child = D(), D()
parent.child, child.parent = child, weakref.ref(parent)
del parent, child
fact("a weak reference back; finalizers that ran", D.dead)
fact("nothing for gc.collect()", gc.collect())
fact("sum(n for n in range(1000)), no list made", sum(n for n in range(1000)))
big = list(range(1000))
fact("getsizeof(list(range(1000)))", getsizeof(big))
fact("a copy is another object of", getsizeof(big.copy()))
