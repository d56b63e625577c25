import hashlib
import multiprocessing
import os
import random
import sys
import threading
from multiprocessing import shared_memory


def digest(block):
    table = {n: block[n : n + 40] for n in range(0, len(block), 40)}
    return hashlib.sha256(b"".join(table[key] for key in sorted(table, reverse=True))).hexdigest()


def echo(inbox, outbox, connection, name):
    for item in iter(inbox.get, None):
        outbox.put((len(item), item[::-1]))
    segment = shared_memory.SharedMemory(name)
    connection.send(bytes(segment.buf[:1000]))
    segment.close()
    connection.close()


def with_method(method, rounds):
    context = multiprocessing.get_context(method)
    blocks = [random.Random(n).randbytes(20_000 + 321 * n) for n in range(10 * rounds)]
    with context.Pool(3, maxtasksperchild=8) as pool:
        digests = pool.map(digest, blocks, chunksize=2)
        pool.close()
        pool.join()
    # Only now: the pool's own thread forks new workers, and a line that waits in the buffer at that moment
    # is printed by both processes.
    print(method, "pool", digest("".join(digests).encode()))

    segment = shared_memory.SharedMemory(create=True, size=1000)
    segment.buf[:1000] = bytes(n % 251 for n in range(1000))
    inbox, outbox = context.Queue(), context.Queue()
    ours, theirs = context.Pipe()
    child = context.Process(target=echo, args=(inbox, outbox, theirs, segment.name))
    child.start()
    for number in range(30 * rounds):
        inbox.put("ab" * number * 20)
    inbox.put(None)
    got = [outbox.get() for _ in range(30 * rounds)]
    print(method, "queue", digest(repr(got).encode()), "shared", digest(ours.recv()))
    child.join()
    segment.close()
    segment.unlink()
    print(method, "exit", child.exitcode)

    with context.Manager() as manager:
        shared = manager.dict()
        for number in range(20):
            shared[number] = "v" * number
        print(method, "manager", sum(map(len, shared.values())))


def fork_while_threads_allocate(times):
    """Each child inherits an allocator whose locks other threads may have held, and must still work."""
    stop = threading.Event()

    def checksum():
        kept = [bytearray([n % 256]) * n for n in range(0, 3000, 7)] + [str(n).encode() * 100 for n in range(300)]
        return hashlib.sha256(b"".join(kept)).digest()

    def churn(seed):
        rng, kept = random.Random(seed), []
        while not stop.is_set():
            kept.append(bytearray(rng.choice((16, 100, 600, 5000, 200_000))))
            if len(kept) > 100:
                kept.clear()
            hashlib.sha256(b"x" * 50_000)  # leaves the interpreter's lock

    threads = [threading.Thread(target=churn, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    expected, statuses = checksum(), []
    for number in range(times):
        child = os.fork()
        if child == 0:
            os._exit(0 if checksum() == expected else 1)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    for thread in threads:
        thread.join()
    print("forks beside threads", len(statuses), "failed", sum(map(bool, statuses)))


if __name__ == "__main__":
    fork_while_threads_allocate(20 * int(sys.argv[1]))
    with_method("fork", int(sys.argv[1]))
    with_method("spawn", int(sys.argv[1]))
