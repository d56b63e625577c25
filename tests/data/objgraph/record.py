"""Records what objgraph 3.7 prints and draws for the scenes below; tests/objgraph builds the same scenes.

    python3.11 -m pip install objgraph==3.7.0
    python3.11 record.py > recorded.txt
    PYTHONPATH=<where it was installed> python3.10 record.py >> recorded.txt

Identities become the names that the scene gives to its objects. Python 3.10 records the scenes with reference
counts: there the four references that objgraph takes off are its own.
"""
import io, re, sys, weakref
import objgraph


def scene(function):
    with_counts = function.__name__.startswith("refcounts")
    if with_counts == (sys.version_info < (3, 11)):
        print(f"== {function.__name__}")
        print(function(), end="")


def make(name, module="__main__", **members):
    return type(name, (), {"__module__": module, **members})


class Names:
    """The objects of a scene, by name."""

    def __init__(self, **objects):
        self.of = {id(o): name for name, o in objects.items()}
        self.objects = objects

    def known(self, o):
        return id(o) in self.of

    def text(self, text):
        for number, name in self.of.items():
            text = text.replace(f"o{number}", f"o_{name}")
        return re.sub("0x[0-9a-f]*", "0x…", text)

    def draw(self, how, roots, **options):
        """A graph of this scene's objects only."""
        out = io.StringIO()
        chosen = options.pop("filter", lambda o: True)
        how(roots, output=out, filter=lambda o: self.known(o) and chosen(o), **options)
        return self.text(out.getvalue())


def containers():
    one, half, text = 1000, 0.5, "text"
    leaf = [one]
    pair = (leaf, one)
    table = {"leaf": leaf, 3: pair, "not a name": leaf, ("t",): text, "again": leaf, 2.5: None}
    group = {one, half}
    return Names(one=one, half=half, text=text, leaf=leaf, pair=pair, table=table, group=group, none=None,
                 root=[table, group, pair, leaf])


@scene
def refs_of_containers():
    n = containers()
    return n.draw(objgraph.show_refs, [n.objects["root"]])


@scene
def refs_deeper_than_objects():
    n = containers()
    return n.draw(objgraph.show_refs, [n.objects["root"]], max_depth=9)


@scene
def refs_of_depth_0():
    n = containers()
    return n.draw(objgraph.show_refs, [n.objects["table"]], max_depth=0)


@scene
def refs_with_long_names():
    n = containers()
    return n.draw(objgraph.show_refs, [n.objects["table"]], shortnames=False)


@scene
def refs_of_two_roots():
    n = containers()
    return n.draw(objgraph.show_refs, [n.objects["pair"], n.objects["group"], n.objects["one"]])


@scene
def refs_without_some():
    n = containers()
    leaf, group = n.objects["leaf"], n.objects["group"]
    return n.draw(objgraph.show_refs, [n.objects["root"]], extra_ignore=[id(group)], filter=lambda o: o is not leaf)


@scene
def refs_highlighted():
    n = containers()
    return n.draw(objgraph.show_refs, [n.objects["root"]], highlight=lambda o: isinstance(o, (list, int)))


@scene
def refs_with_extra_info():
    n = containers()
    return n.draw(objgraph.show_refs, [n.objects["pair"]], extra_info=lambda o: f'"{n.of[id(o)]}"\\')


@scene
def refs_with_attributes():
    n = containers()
    def attributes(o):
        if isinstance(o, int):
            return {}
        return {"tooltip": f'the "{n.of[id(o)]}"', "shape": "oval" if isinstance(o, list) else None, "penwidth": "2"}
    return n.draw(objgraph.show_refs, [n.objects["pair"]], extra_node_attrs=attributes)


@scene
def refs_too_many():
    items = [[n] for n in range(15)]
    many = [items[0]] + items
    n = Names(many=many, **{f"item{n}": item for n, item in enumerate(items)})
    return n.draw(objgraph.show_refs, [many]) + n.draw(objgraph.show_refs, [many], too_many=3, max_depth=1)


@scene
def backrefs_too_many():
    leaf = []
    holders = [[leaf] for _ in range(14)]
    n = Names(leaf=leaf, **{f"holder{n}": holder for n, holder in enumerate(holders)})
    return n.draw(objgraph.show_backrefs, [leaf]) + n.draw(objgraph.show_backrefs, [leaf], too_many=3, max_depth=9)


@scene
def backrefs_of_a_chain():
    a = []
    b = {"to_a": a}
    c = (b, 1)
    d = [c]
    n = Names(a=a, b=b, c=c, d=d)
    return n.draw(objgraph.show_backrefs, [a]) + n.draw(objgraph.show_backrefs, [a], max_depth=2)


@scene
def a_cycle():
    a, b = [], {}
    a.append(b)
    b["back"] = a
    n = Names(a=a, b=b)
    return n.draw(objgraph.show_refs, [a]) + n.draw(objgraph.show_backrefs, [a])


@scene
def reprs():
    values = {
        "none": None, "true": True, "int": 12345, "float": 1.5, "huge": 10**60, "str": 'a "quoted"\n\\ text',
        "long": "x" * 100, "bytes": b"\x00\xff'", "nul": "a\0b", "empty": (), "set": {1, 2}, "dict": {1: 2},
    }
    n = Names(**values)
    return n.draw(objgraph.show_refs, list(values.values()), max_depth=0)


@scene
def instances():
    Node = make("Node")
    Closing = make("Closing", "shop.goods", __del__=lambda self: None)
    a, b, child = Node(), Closing(), []
    a.child, a.other = child, b
    b.child = child
    n = Names(a=a, b=b, child=child, Node=Node, Closing=Closing)
    return n.draw(objgraph.show_refs, [a]) + n.draw(objgraph.show_refs, [b], shortnames=False)


@scene
def failing_repr():
    def fail(self):
        raise ValueError("no text")
    a = make("Mute", __repr__=fail)()
    n = Names(a=a)
    return n.draw(objgraph.show_refs, [a])


@scene
def shown_reprs():
    a = make("Shown", __repr__=lambda self: "<shown> " + "é" * 60)()
    n = Names(a=a)
    return n.draw(objgraph.show_refs, [a])


@scene
def weak_references():
    a, gone = make("A")(), make("B")()
    live, dead = weakref.ref(a), weakref.ref(gone)
    gone = None
    n = Names(a=a, live=live, dead=dead)
    return n.draw(objgraph.show_refs, [live, dead]) + n.draw(objgraph.show_refs, [live], shortnames=False)


@scene
def modules():
    # A module is a node of its own colour, and graphs of what refers to something end there.
    import types
    module = types.ModuleType("shop")
    sys.modules["shop"] = module
    target = []
    names = module.__dict__
    names["target"] = target
    holder = [module]
    n = Names(module=module, target=target, names=names, holder=holder)
    text = n.draw(objgraph.show_backrefs, [target]) + n.draw(objgraph.show_refs, [holder])
    return text + "".join(f"{objgraph.is_proper_module(o)}\n" for o in (module, target, types.ModuleType("shop")))


@scene
def chains():
    a = []
    b = {"to_a": a}
    c = [b, a]
    d = (c, 1)
    other = [a, c]
    n = Names(a=a, b=b, c=c, d=d, other=other)
    forward = objgraph.find_ref_chain(d, lambda o: o is a)
    backward = objgraph.find_backref_chain(a, lambda o: o is d, extra_ignore=[id(other), id(n.objects)])
    none = objgraph.find_ref_chain(a, lambda o: o is d)
    short = objgraph.find_ref_chain(d, lambda o: o is a, max_depth=1)
    at_once = objgraph.find_backref_chain(a, lambda o: o is a)
    around = objgraph.find_ref_chain(d, lambda o: o is a, extra_ignore=[id(b)])
    detour = objgraph.find_ref_chain(d, lambda o: o is b)
    names = lambda chain: " ".join(n.of[id(o)] for o in chain) + "\n"
    text = "".join(map(names, (forward, backward, none, short, at_once, around, detour)))
    for chains, backrefs in (([backward], True), ([forward], False), ([detour, around, []], False)):
        out = io.StringIO()
        objgraph.show_chain(*chains, backrefs=backrefs, output=out)
        text += n.text(out.getvalue())
    return text


Apple, Pear, Fig = make("Apple", "farm"), make("Pear", "farm"), make("Fig", "garden.trees")


def fruit():
    """More apples than pears than figs, tracked."""
    kept = [kind() for kind, n in ((Apple, 300), (Pear, 200), (Fig, 7)) for _ in range(n)]
    for o in kept:
        o.self = o
    return kept


@scene
def counting():
    kept = fruit()
    mixed = kept + [1, "text", (), [], {}]
    is_fig = lambda o: isinstance(o, Fig)
    lines = [
        objgraph.count("Apple"), objgraph.count("farm.Apple"), objgraph.count("Figs"), objgraph.count("trees.Fig"),
        objgraph.count("garden.trees.Fig"), objgraph.count("Fig", kept[:400]), objgraph.count("int", mixed),
        objgraph.count("builtins.list", mixed), len(objgraph.by_type("Pear")), len(objgraph.by_type("farm.Pear")),
        len(objgraph.by_type("tuple", mixed)), sorted(objgraph.typestats(mixed).items()),
        sorted(objgraph.typestats(mixed, shortnames=False).items()), objgraph.typestats(filter=is_fig),
        objgraph.most_common_types(2, kept), objgraph.most_common_types(None, kept), objgraph.most_common_types(0, kept),
        objgraph.most_common_types(1, kept, shortnames=False), objgraph.most_common_types(5, kept, filter=is_fig),
    ]
    out = io.StringIO()
    objgraph.show_most_common_types(objects=kept, file=out)
    objgraph.show_most_common_types(2, kept, shortnames=False, file=out)
    return "".join(f"{line}\n" for line in lines) + out.getvalue()


@scene
def growing():
    mine = lambda o: type(o) in (Apple, Pear, Fig)
    peaks, out, lines = {}, io.StringIO(), []
    kept = fruit()
    lines.append(objgraph.growth(peak_stats=peaks, filter=mine))
    lines.append(objgraph.growth(peak_stats=peaks, filter=mine))
    del kept[100:]
    lines.append(objgraph.growth(peak_stats=peaks, filter=mine))
    kept = fruit() + fruit()[:303]
    lines.append(objgraph.growth(1, peaks, filter=mine))
    kept += fruit()
    objgraph.show_growth(peak_stats=peaks, shortnames=True, file=out, filter=mine)
    objgraph.show_growth(peak_stats=peaks, file=out, filter=mine)
    objgraph.show_growth(1, {}, False, out, mine)
    return "".join(f"{line}\n" for line in lines) + out.getvalue()


@scene
def new_ids():
    """More of each than of any type that Python itself has."""
    apples, pears, figs = ([kind() for _ in range(n)] for kind, n in ((Apple, 30000), (Pear, 25000), (Fig, 20000)))
    state, out = {}, io.StringIO()
    assert objgraph.get_new_ids(limit=0, file=out, _state=state) is objgraph.get_new_ids(skip_update=True, _state=state)
    text = "".join(f"{len(state['new'][name])}\n" for name in ("Apple", "Pear", "Fig"))
    del apples[29000:]
    pears += [Pear() for _ in range(2000)]
    figs += [Fig() for _ in range(3000)]
    for sortby, limit in (("old", 3), ("current", 3), ("new", 2), ("deltas", 2)):
        copy = {key: value if key == "shortnames" else type(value)(set, {k: set(v) for k, v in value.items()})
                for key, value in state.items()}
        new = objgraph.get_new_ids(limit=limit, sortby=sortby, file=out, _state=copy)
    text += f"{len(new['Apple'])} {len(new['Pear'])} {len(new['Fig'])}\n"
    found = objgraph.at_addrs(new["Pear"])
    text += f"{len(found)} {sorted(map(id, found)) == sorted(map(id, pears[25000:]))}\n"
    return text + out.getvalue()


@scene
def leaking():
    held, inner = Apple(), Apple()
    held.inner = inner
    inner.self = inner
    objects = [held, inner]
    found = objgraph.get_leaking_objects([held, inner])
    names = {id(held): "held", id(inner): "inner"}
    # `objects` refers to both for Python, as do this function's names; its own argument does not count.
    del objects
    return f"{[names[id(o)] for o in objgraph.get_leaking_objects([held, inner])]}\n"


@scene
def refcounts_of_containers():
    n = containers()
    objects = n.objects
    n.objects = None
    root, leaf = objects["root"], objects["leaf"]
    objects.clear()
    mine = (list, dict, set, tuple)
    text = n.draw(objgraph.show_refs, [root], refcounts=True, filter=lambda o: isinstance(o, mine))
    return text + n.draw(objgraph.show_backrefs, [leaf], refcounts=True, max_depth=0)
