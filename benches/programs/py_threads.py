"""Four threads hand work to each other; hashing and compression run outside the interpreter lock."""
import hashlib
import queue
import threading
import zlib

work, done = queue.Queue(64), queue.Queue()


def run():
    while (item := work.get()) is not None:
        data = (str(item) * 20000).encode()
        packed = zlib.compress(data, 3)
        done.put((hashlib.sha256(packed).hexdigest(), [bytes([i % 256]) * (i % 300) for i in range(400)]))


threads = [threading.Thread(target=run) for _ in range(4)]
for thread in threads:
    thread.start()
for i in range(400):
    work.put(i)
for thread in threads:
    work.put(None)
for thread in threads:
    thread.join()
print(sum(len(digest) + sum(map(len, blocks)) for digest, blocks in done.queue))
