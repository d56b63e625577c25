"""Commands in redis' own protocol for about N keys of every type, always the same."""
import random
import sys

count = int(sys.argv[1])
rng = random.Random(9)
out = sys.stdout.buffer


def send(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    out.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


def text():
    return rng.randbytes(rng.choice((3, 30, 60, 200, 900))).hex()


for n in range(count):
    kind = n % 6
    size = rng.choice((1, 5, 20, 60, 200)) if n < 1000 or n % 10 == 0 else 3
    if kind == 0:
        send("SET", f"string:{n}", text())
        send("APPEND", f"string:{n}", text())
        send("SETRANGE", f"string:{n}", rng.randrange(3000), "range")
    elif kind == 1:
        send("HSET", f"hash:{n}", *(word for i in range(size) for word in (f"field{i}", text())))
    elif kind == 2:
        send("RPUSH", f"list:{n}", *(text() for _ in range(size)))
        send("LTRIM", f"list:{n}", 0, 150)
    elif kind == 3:
        send("SADD", f"set:{n}", *(rng.randrange(10**6) if n % 4 else text() for _ in range(size)))
    elif kind == 4:
        send("ZADD", f"zset:{n}", *(word for i in range(size) for word in (rng.randrange(1000), f"member{i}")))
    else:
        for i in range(min(size, 40)):
            send("XADD", f"stream:{n}", f"{i + 1}-0", "a", text(), "b", i)
    if n % 97 == 96:
        send("DEL", f"string:{n - 96 - n % 6}", f"list:{n - 50}")
    if n % 50 == 0:
        send("SET", f"big:{n}", rng.randbytes(40_000))
        send("SETBIT", f"bits:{n}", rng.randrange(10**6), 1)
        send("PFADD", f"log:{n}", *range(100))
