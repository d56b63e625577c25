import asyncio
import hashlib
import random
import sys

size = int(sys.argv[1])


async def node(rng, depth):
    if depth == 0:
        await asyncio.sleep(0)
        return rng.randrange(1000)
    return sum(await asyncio.gather(*(node(random.Random(rng.random()), depth - 1) for _ in range(4))))


async def pipeline():
    first, second = asyncio.Queue(10), asyncio.Queue(10)

    async def stage():
        while (item := await first.get()) is not None:
            await second.put(item[::-1] * 2)
        await second.put(None)

    async def feed():
        for number in range(size * 5):
            await first.put(f"{number}" * (number % 50 + 1))
        await first.put(None)

    tasks = [asyncio.create_task(stage()), asyncio.create_task(feed())]
    digest = hashlib.sha256()
    while (item := await second.get()) is not None:
        digest.update(item.encode())
    await asyncio.gather(*tasks)
    return digest.hexdigest()


async def handle(reader, writer):
    while line := await reader.readline():
        length = int(line)
        body = await reader.readexactly(length)
        writer.write(hashlib.sha256(body).digest() + body[::-1])
        await writer.drain()
    writer.close()


async def client(port, number):
    rng = random.Random(number)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    digest = hashlib.sha256()
    for _ in range(5):
        body = rng.randbytes(rng.choice((1, 60, 1000, 40_000)))
        writer.write(b"%d\n" % len(body) + body)
        await writer.drain()
        answer = await reader.readexactly(32 + len(body))
        assert answer == hashlib.sha256(body).digest() + body[::-1]
        digest.update(answer)
    writer.close()
    await writer.wait_closed()
    return digest.hexdigest()


async def main():
    print("tree", await node(random.Random(4), 6))
    print("pipeline", await pipeline())
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    answers = []
    for start in range(0, size // 4, 25):
        answers += await asyncio.gather(*(client(port, n) for n in range(start, start + 25)))
    server.close()
    await server.wait_closed()
    print("clients", len(answers), hashlib.sha256("".join(answers).encode()).hexdigest())
    loop = asyncio.get_running_loop()
    blocks = await asyncio.gather(*(loop.run_in_executor(None, bytes, n * 1000) for n in range(200)))
    print("executor", sum(map(len, blocks)))
    for number in range(3):
        process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate(b"line\n" * 30_000)
        print("cat", number, len(out), process.returncode)
    try:
        await asyncio.wait_for(asyncio.sleep(30), 0.05)
    except asyncio.TimeoutError:
        print("timed out as asked")


asyncio.run(main(), debug=False)
