"""Random programs, performed by CPython's collector: one line of JSON each.

    python3.11 record.py FIRST_SEED PROGRAMS [STEPS] > FILE

A node is a list subclass, a weak reference an instance of a subclass with a tag. Automatic collection is off, and
what is no node and no weak reference of the program is frozen, so that it counts as outside. What each step
returned, logged and, after a collection and at the end, which generation holds what, stands beside it.

Programs differ in character, each by its seed: how many nodes stay, how many have finalizers of which kind, how
dense their references are, how often they are collected.
"""

import gc
import json
import random
import sys
import weakref

log = []
survivors = []


class Node(list):
    """Kind 0: without a finalizer."""

    __slots__ = ("id", "__weakref__")


class Logging(Node):
    """Kind 1."""

    __slots__ = ()

    def __del__(self):
        log.append(f"fin{self.id}")


class Resurrecting(Node):
    """Kind 2: appends itself to the survivors."""

    __slots__ = ()

    def __del__(self):
        log.append(f"res{self.id}")
        survivors.append(self)


class Suicidal(Node):
    """Kind 3: empties itself, last to first."""

    __slots__ = ()

    def __del__(self):
        log.append(f"sui{self.id}")
        self.clear()


class Weak(weakref.ref):
    """A weak reference with a tag."""

    __slots__ = ("tag",)


KINDS = (Node, Logging, Resurrecting, Suicidal)


def called_back(weak):
    log.append(f"cb{weak.tag}")


def new_weak(node, tag):
    weak = Weak(node, called_back)
    weak.tag = tag
    return weak


class World:
    """The state of one program, made before everything else is frozen."""

    def __init__(self):
        self.roots = {}
        self.weak = {}

    def perform(self, name, *args):
        return getattr(self, "do_" + name)(*args)

    def do_new(self, number, kind):
        node = KINDS[kind]()
        node.id = number
        self.roots[number] = node

    def do_edge(self, a, b):
        self.roots[a].append(self.roots[b])

    def do_unedge(self, a):
        if self.roots[a]:
            self.roots[a].pop()

    def do_drop(self, number):
        del self.roots[number]

    def do_wr(self, number, tag):
        self.weak[tag] = new_weak(self.roots[number], tag)

    def do_wrin(self, a, b, tag):
        self.roots[a].append(new_weak(self.roots[b], tag))

    def do_wdrop(self, tag):
        self.weak.pop(tag, None)

    def do_probe(self):
        return sorted(tag for tag, weak in self.weak.items() if weak() is not None)

    def do_resdrop(self):
        survivors.clear()

    def do_collect(self, generation):
        return gc.collect(generation)


def generations():
    def name(thing):
        return thing.id if isinstance(thing, Node) else 1000 + thing.tag

    def members(generation):
        things = gc.get_objects(generation=generation)
        return [name(thing) for thing in things if isinstance(thing, (Node, Weak))]

    return [members(generation) for generation in range(3)]


def program(seed, n_steps):
    """The operations: only those that name nodes with a root reference."""
    rng = random.Random(seed)
    weights = {
        "new": 30,
        "edge": rng.choice((15, 30, 60)),
        "unedge": rng.choice((2, 5, 15)),
        "drop": rng.choice((10, 15, 25)),
        "wr": rng.choice((1, 4, 12)),
        "wrin": rng.choice((1, 4, 12)),
        "wdrop": 2,
        "probe": 1,
        "resdrop": 2,
        "collect": rng.choice((3, 7, 15)),
    }
    kinds = rng.choice(((2, 1, 1, 1), (1, 1, 1, 1), (8, 1, 1, 1), (1, 0, 0, 0)))
    names, odds = list(weights), list(weights.values())
    roots, n_nodes, n_tags = [], 0, 0
    for _ in range(n_steps):
        name = rng.choices(names, odds)[0]
        if not roots and name in ("edge", "unedge", "drop", "wr", "wrin"):
            name = "new"
        if name == "new":
            yield [name, n_nodes, rng.choices(range(4), kinds)[0]]
            roots.append(n_nodes)
            n_nodes += 1
        elif name == "edge":
            yield [name, rng.choice(roots), rng.choice(roots)]
        elif name == "unedge":
            yield [name, rng.choice(roots)]
        elif name == "drop":
            yield [name, roots.pop(rng.randrange(len(roots)))]
        elif name == "wr":
            yield [name, rng.choice(roots), n_tags]
            n_tags += 1
        elif name == "wrin":
            yield [name, rng.choice(roots), rng.choice(roots), n_tags]
            n_tags += 1
        elif name == "wdrop":
            yield [name, rng.randrange(n_tags + 1)]
        elif name == "collect":
            yield [name, rng.choices(range(3), (2, 1, 1))[0]]
        else:
            yield [name]


def record(seed, n_steps):
    world, steps = World(), []
    operations = list(program(seed, n_steps))
    gc.collect()
    gc.freeze()
    for at, operation in enumerate(operations):
        log.clear()
        step = {"op": operation}
        result = world.perform(*operation)
        if result is not None:
            step["ret"] = result
        if log:
            step["ev"] = log.copy()
        if operation[0] == "collect" or at == len(operations) - 1:
            step["gens"] = generations()
        steps.append(step)
    world.roots.clear()
    world.weak.clear()
    for _ in range(10):
        gc.collect()
        survivors.clear()
    gc.unfreeze()
    return {"seed": seed, "steps": steps}


def main():
    first, n = int(sys.argv[1]), int(sys.argv[2])
    gc.disable()
    for seed in range(first, first + n):
        # The usual length, or what is asked for; now and then a long program.
        steps = int(sys.argv[3]) if len(sys.argv) > 3 else (600 if seed % 16 == 0 else 120)
        print(json.dumps(record(seed, steps), separators=(",", ":")))


if __name__ == "__main__":
    main()
