import hashlib
import json
import json.decoder
import json.encoder
import random
import sys

rounds = int(sys.argv[1])
rng = random.Random(1)
ALPHABET = "abcdefghij \"\\/\b\f\n\r\t\u00e9\u4e2d\U0001f600\u2028\x7f"


def text():
    return "".join(rng.choice(ALPHABET) for _ in range(rng.choice((0, 3, 12, 40, 300))))


def value(depth):
    kind = rng.randrange(9 if depth else 6)
    if kind == 0:
        return rng.randrange(-(10**30), 10**30)
    if kind == 1:
        return rng.random() * 10 ** rng.randrange(-300, 300)
    if kind == 2:
        return rng.choice((None, True, False))
    if kind < 6:
        return text()
    if kind < 8:
        return {text(): value(depth - 1) for _ in range(rng.randrange(12))}
    return [value(depth - 1) for _ in range(rng.randrange(12))]


total = hashlib.sha256()
kept = []
for number in range(rounds):
    document = [value(6) for _ in range(8)]
    compact = json.dumps(document, separators=(",", ":"))
    for options in ({}, {"indent": 2, "sort_keys": True}, {"ensure_ascii": False}):
        written = json.dumps(document, **options)
        assert json.loads(written) == document
        total.update(written.encode("utf-8", "surrogatepass"))
    assert json.loads(compact.encode("utf-16")) == document
    kept.append(document)  # blocks of many ages
    if number % 5 == 4:
        del kept[: len(kept) // 2]
print("documents", rounds, total.hexdigest())

# The pure Python halves make very many small strings and lists.
python_encoder = json.encoder.c_make_encoder
json.encoder.c_make_encoder = None
slow = json.dumps(kept[-1], sort_keys=True)
json.encoder.c_make_encoder = python_encoder
assert slow == json.dumps(kept[-1], sort_keys=True)
print("python encoder", len(slow))

for broken in ('{"a": }', "[1, 2", '"\\x"', "nul", "[" * 100_000, "-", '{"a" 1}'):
    try:
        json.loads(broken)
    except (json.JSONDecodeError, RecursionError) as error:
        print(type(error).__name__, str(error)[:60])

big = json.dumps({"x": "y" * 5_000_000, "n": list(range(200_000))})
print("big", hashlib.sha256(json.dumps(json.loads(big)).encode()).hexdigest())
