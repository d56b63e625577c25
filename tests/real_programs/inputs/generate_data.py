"""N MiB of compressible and incompressible stretches, always the same."""
import random
import sys

rng = random.Random(8)
words = [rng.randbytes(rng.randrange(2, 12)) for _ in range(4000)]
left = int(sys.argv[1]) << 20
while left > 0:
    kind = rng.randrange(4)
    if kind == 0:
        block = rng.randbytes(rng.randrange(60_000))
    elif kind == 1:
        block = bytes([rng.randrange(256)]) * rng.randrange(100_000)
    else:
        block = b" ".join(rng.choices(words, k=rng.randrange(1, 20_000)))
    sys.stdout.buffer.write(block[:left])
    left -= len(block)
