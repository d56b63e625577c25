"""The rows of `pymalloc-bench gc` in CPython: one workload, one line of JSON."""

import gc
import json
import os
import resource
import sys
import time

MILLION = 1 << 20


class Node:
    """Three references and two numbers."""

    __slots__ = ("a", "b", "c", "key", "more")

    def __init__(self, key):
        self.key = key
        self.more = key


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1e9


def timed(n, work):
    before = cpu()
    work()
    return (cpu() - before) / n


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def numbers():
    state = 0x853C49E6748FEA9B
    mask = (1 << 64) - 1
    while True:
        state ^= (state << 13) & mask
        state ^= state >> 7
        state ^= (state << 17) & mask
        yield state


def tree(n):
    nodes = [Node(key) for key in range(n)]
    for index in range(1, n):
        parent = nodes[(index - 1) // 2]
        if (index - 1) % 2:
            parent.b = nodes[index]
        else:
            parent.a = nodes[index]
        nodes[index].c = parent
    return nodes[0]


def random(n):
    nodes = [Node(key) for key in range(n)]
    number = numbers()
    order = list(range(n))
    for at in range(n - 1, 1, -1):
        other = 1 + next(number) % at
        order[at], order[other] = order[other], order[at]
    for at in range(n - 1):
        nodes[order[at]].a = nodes[order[at + 1]]
    for node in nodes:
        node.b = nodes[next(number) % n]
        node.c = nodes[next(number) % n]
    return nodes[0]


def pairs(n):
    for key in range(n):
        a, b = Node(key), Node(key)
        a.a = b
        b.a = a


def clone(n):
    node = Node(1)
    for _ in range(n):
        other = node
        del other


def allocate(n):
    for key in range(n):
        Node(key)


def empty(n):
    for _ in range(n):
        pass


def pauses(n):
    """The program of the worker's pauses.rs; CPython makes a tenth of the garbage."""
    number = numbers()
    nodes = [Node(key) for key in range(n)]
    gc.collect()
    seen, started = [[], [], []], [0.0]

    def watch(phase, info):
        if phase == "start":
            started[0] = time.perf_counter()
        else:
            seen[info["generation"]].append((time.perf_counter() - started[0]) * 1e6)

    gc.callbacks.append(watch)
    gc.enable()
    made = 2_000_000
    begun = time.perf_counter()
    for key in range(made):
        a, b = Node(key), Node(key)
        a.a = b
        b.a = a
        if key % 100 == 0:
            at = next(number) % n
            a.b = nodes[next(number) % n]
            nodes[at] = a
    rate = 2 * made / (time.perf_counter() - begun) / 1e6
    more = [["million objects per second", rate]]
    for generation, of in enumerate(seen):
        of.sort()
        if of:
            name = f"generation {generation}: "
            more.append([name + "pauses", len(of)])
            more.append([name + "median us", of[int((len(of) - 1) * 0.5)]])
            more.append([name + "99 % us", of[int((len(of) - 1) * 0.99)]])
            more.append([name + "longest us", of[-1]])
    sample = {"value": max(of[-1] for of in seen if of), "more": more}
    print(json.dumps(sample), flush=True)
    os._exit(0)


def run(workload):
    gc.disable()
    if workload == "a-clone":
        n = 20_000_000
        return timed(n, lambda: clone(n)) - timed(n, lambda: empty(n))
    if workload == "b-alloc":
        n = 5_000_000
        return timed(n, lambda: allocate(n)) - timed(n, lambda: empty(n))
    if workload == "c-self":
        for key in range(MILLION):
            node = Node(key)
            node.a = node
        del node
        return timed(MILLION, gc.collect)
    if workload == "d-pairs":
        pairs(MILLION)
        return timed(2 * MILLION, gc.collect)
    if workload == "e-tree":
        tree(MILLION)
        return timed(MILLION, gc.collect)
    if workload == "h-random":
        random(MILLION)
        return timed(MILLION, gc.collect)
    if workload.startswith("f-"):
        n = 4 * MILLION if workload.endswith("4m") else MILLION
        root = random(n) if "random" in workload else tree(n)
        gc.collect()
        sample = timed(n, gc.collect)
        print(json.dumps({"value": sample}), flush=True)
        os._exit(0)
        return root
    if workload == "g-young":
        root = tree(MILLION)
        gc.collect()
        gc.enable()
        n = MILLION
        sample = timed(2 * n, lambda: pairs(n))
        print(json.dumps({"value": sample}), flush=True)
        os._exit(0)
        return root
    if workload.startswith("pauses-"):
        return pauses(4 * MILLION if workload.endswith("4m") else MILLION)
    if workload.startswith("memory"):
        n = 2 * MILLION
        nodes = [None] * n
        before = resident()
        for key in range(n):
            # The same numbers everywhere: they are no part of the node.
            nodes[key] = Node(7)
        for index in range(1, n):
            parent = nodes[(index - 1) // 2]
            if (index - 1) % 2:
                parent.b = nodes[index]
            else:
                parent.a = nodes[index]
        if workload == "memory-collected":
            gc.collect()
        return (resident() - before) / n - 40
    sys.exit(2)


if __name__ == "__main__":
    print(json.dumps({"value": run(sys.argv[1])}), flush=True)
    os._exit(0)
