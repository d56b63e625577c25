import hashlib
import random
import re
import sys

rounds = int(sys.argv[1])
rng = random.Random(2)
words = ["".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randrange(2, 11))) for _ in range(3000)]


def line():
    return (f"{rng.randrange(1, 256)}.{rng.randrange(256)}.0.{rng.randrange(256)} - {rng.choice(words)} "
            f"[{rng.randrange(1, 29):02}/Mar/2024:{rng.randrange(24):02}:{rng.randrange(60):02}] "
            f'"{rng.choice(("GET", "POST"))} /{"/".join(rng.choices(words, k=3))}?q={rng.choice(words)}" '
            f"{rng.choice((200, 301, 404))} {rng.randrange(10**6)}")


total = hashlib.sha256()
log = re.compile(r"(?P<ip>\d+(?:\.\d+){3}) - (?P<user>\w+) \[(?P<date>[^\]]+)\] \"(?P<verb>[A-Z]+) (?P<path>[^\"]*)\" "
                 r"(?P<status>\d{3}) (?P<size>\d+)")
counts = {}
for number in range(rounds):
    text = "\n".join(line() for _ in range(300))
    for match in log.finditer(text):
        fields = match.groupdict()
        counts[fields["verb"], fields["status"]] = counts.get((fields["verb"], fields["status"]), 0) + int(fields["size"])
    total.update("|".join(re.split(r"[\s/?.=\"]+", text)).encode())
    total.update(re.sub(r"\b(\w)(\w*)\b", lambda m: m[2] + m[1].upper(), text).encode())
    total.update(repr(re.findall(r"(?i)([aeiou]{2,})(?=[^aeiou])", text)).encode())
    # A pattern of its own each round: the compiler allocates too, and the cache of 512 turns over.
    some = "|".join(map(re.escape, rng.sample(words, 60)))
    total.update(repr(re.subn(rf"\b(?:{some})\b", "<>", text)).encode())
    re.compile(rf"(?:{some}){{1,{number + 2}}}")
print(sorted(counts.items()))
print("text", total.hexdigest())
print("backtracking", re.match(r"(a+)+$", "a" * 19 + "b"), re.fullmatch(r"(?:x|xx){1,20000}", "x" * 20000) is not None)
print("huge", len(re.sub(rb"\x00", b"\\\\0", bytes(range(256)) * 20_000)))
for broken in ("(", "[a", "(?P<x>a)(?P<x>b)", "*a", r"(?<=a+)b"):
    try:
        re.compile(broken)
    except re.error as error:
        print("error:", error)
