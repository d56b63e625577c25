import collections
import copy
import dataclasses
import datetime
import decimal
import fractions
import hashlib
import io
import marshal
import pickle
import random
import shelve
import sys

rounds = int(sys.argv[1])
rng = random.Random(5)


@dataclasses.dataclass
class Node:
    name: str
    children: list = dataclasses.field(default_factory=list)
    extra: object = None


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b

    def __reduce__(self):
        return Slotted, (self.a, self.b)

    def __eq__(self, other):
        return (self.a, self.b) == (other.a, other.b)


def leaf():
    return rng.choice((
        lambda: rng.randrange(10**40), rng.random, lambda: "t" * rng.randrange(300), lambda: rng.randbytes(rng.randrange(900)),
        lambda: decimal.Decimal(rng.randrange(10**9)) / 7, lambda: fractions.Fraction(rng.randrange(100), 7),
        lambda: datetime.datetime(2024, 1, 1) + datetime.timedelta(seconds=rng.randrange(10**7)),
        lambda: collections.OrderedDict((n, n) for n in range(5)), lambda: Slotted(rng.random(), "s"),
        lambda: bytearray(rng.randrange(2000)), lambda: complex(rng.random(), 1), lambda: range(rng.randrange(50)),
    ))()


def tree(depth):
    return Node(f"n{rng.randrange(100)}", [tree(depth - 1) for _ in range(rng.randrange(5))] if depth else [], leaf())


total = hashlib.sha256()
for _ in range(rounds):
    root = tree(6)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        written = pickle.dumps(root, protocol)
        assert pickle.loads(written) == root
        total.update(written)
    assert copy.deepcopy(root) == root
    out = io.BytesIO()
    pickle._Pickler(out, 4).dump(root)
    assert pickle._Unpickler(io.BytesIO(out.getvalue())).load() == root
print("trees", total.hexdigest())

buffers = []
large = [pickle.PickleBuffer(bytearray(1_000_000)) for _ in range(5)]
written = pickle.dumps(large, protocol=5, buffer_callback=buffers.append)
print("out of band", len(written), sum(len(b.raw()) for b in buffers), len(pickle.loads(written, buffers=buffers)))

loop = []
loop.append({"self": loop})
again = pickle.loads(pickle.dumps(loop))
print("cycle", again[0]["self"] is again)
deep = None
for _ in range(300):
    deep = [deep]
print("deep", len(pickle.dumps(deep)))
code = compile("def f(x):\n    return [y * x for y in range(10)]\n", "x", "exec")
print("marshal", hashlib.sha256(marshal.dumps(marshal.loads(marshal.dumps(code)))).hexdigest())
with shelve.open("shelf", "n") as shelf:
    for n in range(50):
        shelf[str(n)] = leaf()
with shelve.open("shelf") as shelf:
    print("shelf", hashlib.sha256(b"".join(pickle.dumps(shelf[str(n)], 2) for n in range(50))).hexdigest())
for broken in (b"", b"\x80\x04K", b"\x80\x63.", b"cnothing\nhere\n.", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f."):
    try:
        pickle.loads(broken)
    except Exception as error:  # any kind: that is what is compared
        print(type(error).__name__, error)
