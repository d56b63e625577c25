import hashlib
import queue
import random
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

rounds = int(sys.argv[1])
THREADS = 8
sys.setswitchinterval(0.0005)  # many switches in the middle of things
inboxes = [queue.Queue(64) for _ in range(THREADS)]
sums = [0] * THREADS


def thing(rng):
    kind = rng.randrange(6)
    if kind == 0:
        return bytearray(rng.choice((1, 17, 200, 513, 4000, 70_000)))
    if kind == 1:
        return {n: str(n) * rng.randrange(20) for n in range(rng.randrange(60))}
    if kind == 2:
        return [object() for _ in range(rng.randrange(200))]
    if kind == 3:
        return "x" * rng.randrange(2000)
    if kind == 4:
        return tuple([n] for n in range(rng.randrange(40)))
    return {frozenset((n, n + 1)) for n in range(rng.randrange(30))}


def work(me):
    """Allocates and passes on; every object dies in another thread than the one that made it."""
    rng, order, kept = random.Random(me), random.Random(-me), []
    for number in range(rounds * 400):
        made = thing(rng)
        sums[me] += len(made)
        try:
            inboxes[(me + 1 + number % (THREADS - 1)) % THREADS].put(made, timeout=0.001)
        except queue.Full:
            kept.append(made)
        while True:
            try:
                kept.append(inboxes[me].get_nowait())
            except queue.Empty:
                break
        if len(kept) > 300:
            order.shuffle(kept)
            del kept[:250]
        if number % 100 == 0:
            # zlib gives up the interpreter's lock, so that these allocations run at the same time.
            sums[me] += zlib.crc32(zlib.decompress(zlib.compress(bytes(range(256)) * 300, 1)))


threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("sums of what was made", sums)

local = threading.local()
done = []


def short(number):
    local.list = [bytes(n % 600) for n in range(50)]
    done.append(len(local.list) + number)


for start in range(0, 50 * rounds, 10):
    batch = [threading.Thread(target=short, args=(n,)) for n in range(start, start + 10)]
    for thread in batch:
        thread.start()
    for thread in batch:
        thread.join()
print("short threads", len(done), sum(done))

with ThreadPoolExecutor(THREADS) as pool:
    data = [random.Random(n).randbytes(50_000 + n) for n in range(40)]
    digests = list(pool.map(lambda block: hashlib.sha256(zlib.compress(block * 3)).hexdigest(), data))
print("pool", hashlib.sha256("".join(digests).encode()).hexdigest())
