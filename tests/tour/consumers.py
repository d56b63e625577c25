"""Reads exported files as their consumers do: consumers.py PPROF OTHER_PPROF SPEEDSCOPE DHAT [FOLDER OF NPM]"""

import gzip
import json
import os
import sys


def fields(data):
    """The fields of a protobuf message: number, value or bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            assert key & 7 == 2, key
            n = varint()
            yield key >> 3, data[at : at + n]
            at += n


# profile.proto: which fields each message has, and of which kind.
PROFILE = {1: "VALUE_TYPE", 2: "SAMPLE", 3: "MAPPING", 4: "LOCATION", 5: "FUNCTION", 6: bytes, 7: int, 8: int, 9: int,
           10: int, 11: "VALUE_TYPE", 12: int, 13: int, 14: int}
MESSAGES = {
    "VALUE_TYPE": {1: int, 2: int},
    "SAMPLE": {1: bytes, 2: bytes, 3: "LABEL"},
    "LABEL": {1: int, 2: int, 3: int, 4: int},
    "MAPPING": {n: int for n in range(1, 11)},
    "LOCATION": {1: int, 2: int, 3: int, 4: "LINE", 5: int},
    "LINE": {1: int, 2: int, 3: int},
    "FUNCTION": {n: int for n in range(1, 6)},
}


def check(data, schema):
    for number, value in fields(data):
        kind = schema[number]
        if isinstance(kind, str):
            check(value, MESSAGES[kind])
        else:
            assert isinstance(value, kind), (number, kind)


def pprof(path):
    data = gzip.open(path).read()
    check(data, PROFILE)
    numbers = [number for number, _ in fields(data)]
    texts = [value for number, value in fields(data) if number == 6]
    assert texts[0] == b""
    source = [texts[value].decode() for number, value in fields(data) if number == 13]
    print(f"{path}: {numbers.count(2)} samples, {numbers.count(4)} locations, {numbers.count(5)} functions; {source}")
    return b"\n".join(texts)


first, second, scope, dhat, npm = (sys.argv + [""])[1:6]
assert b"PyEval_EvalFrameDefault" in pprof(first)
# The Rust program is built with the feature `symbols`: its own profile has the source file.
texts = pprof(second)
assert b"leak_here" in texts and b"examples/serve.rs" in texts, second

document = json.load(open(scope))
frames = len(document["shared"]["frames"])
for profile in document["profiles"]:
    assert profile["type"] == "sampled" and len(profile["samples"]) == len(profile["weights"])
    assert all(0 <= frame < frames for sample in profile["samples"] for frame in sample)
schema = os.path.join(npm, "node_modules/speedscope/dist/release/file-format-schema.json")
judged = "not judged by its schema"
if npm and os.path.exists(schema):
    import jsonschema

    jsonschema.validate(document, json.load(open(schema)))
    judged = "valid by its own schema"
print(f"{scope}: {frames} frames, {len(document['profiles'])} profiles, {judged}")

document = json.load(open(dhat))
assert document["dhatFileVersion"] == 2
assert all(0 <= frame < len(document["ftbl"]) for point in document["pps"] for frame in point["fs"])
print(f"{dhat}: {len(document['pps'])} program points")
