import hashlib
import os
import random
import sqlite3
import sys

rows = int(sys.argv[1])


def fill(connection, rng):
    connection.executescript("""
        CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT COLLATE backwards, weight REAL, data BLOB);
        CREATE TABLE tag(item INTEGER REFERENCES item(id) ON DELETE CASCADE, word TEXT);
        CREATE INDEX by_name ON item(name);
        CREATE INDEX by_word ON tag(word, item);
        CREATE TABLE log(what TEXT);
        CREATE TRIGGER gone AFTER DELETE ON item BEGIN INSERT INTO log VALUES ('gone ' || old.id); END;
    """)
    items = [(n, f"name{rng.randrange(rows)}", rng.random(), rng.randbytes(rng.choice((0, 10, 90, 700, 5000)))) for n in range(rows)]
    with connection:
        connection.executemany("INSERT INTO item VALUES (?, ?, ?, ?)", items)
        connection.executemany("INSERT INTO tag VALUES (?, ?)", ((rng.randrange(rows), f"w{rng.randrange(50)}") for _ in range(rows * 3)))
    with connection:
        connection.execute("DELETE FROM item WHERE id % 7 = 3")
        connection.execute("UPDATE item SET data = CAST(data || ? AS BLOB) WHERE id % 5 = 0", (b"more" * 100,))


class Digest:
    def __init__(self):
        self.hash = hashlib.sha256()

    def step(self, *values):
        self.hash.update(repr(values).encode())

    def finalize(self):
        return self.hash.hexdigest()


def connect(name):
    connection = sqlite3.connect(name)
    connection.create_collation("backwards", lambda a, b: (a[::-1] > b[::-1]) - (a[::-1] < b[::-1]))
    connection.create_function("turned", 1, lambda text: text[::-1], deterministic=True)
    connection.create_aggregate("digest", -1, Digest)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def report(label, connection):
    for query in (
        "SELECT count(*), sum(length(data)), round(sum(weight), 6) FROM item",
        "SELECT digest(id, name, weight, data) FROM (SELECT * FROM item ORDER BY name, id)",
        "SELECT turned(name), count(*) FROM item GROUP BY name ORDER BY 2 DESC, 1 LIMIT 5",
        "SELECT word, group_concat(item) FROM (SELECT * FROM tag ORDER BY word, item) GROUP BY word LIMIT 2",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT sum(i), max(length(hex(randomblob(i % 100)))) FROM n",
        "SELECT a.id, b.id FROM item a JOIN item b ON b.id = a.id * 2 JOIN tag t ON t.item = a.id ORDER BY b.weight LIMIT 5",
        "SELECT count(*) FROM log",
        "PRAGMA integrity_check",
        "PRAGMA foreign_key_check",
    ):
        print(label, hashlib.sha256(repr(connection.execute(query).fetchall()).encode()).hexdigest()[:16], query[:50])


memory = connect(":memory:")
fill(memory, random.Random(3))
report("memory", memory)
disk = connect("disk.db")
disk.execute("PRAGMA journal_mode = WAL")
memory.backup(disk, pages=7)
disk.execute("VACUUM")
report("disk", disk)
dump = "\n".join(disk.iterdump())
assert dump == "\n".join(memory.iterdump())
print("dump", hashlib.sha256(dump.encode()).hexdigest())
again = connect("again.db")
again.executescript(dump)
report("again", again)
try:
    again.execute("INSERT INTO item VALUES (1, 'x', 1, 1)")
except sqlite3.IntegrityError as error:
    print("error:", error)
for connection in (memory, disk, again):
    connection.close()
print(sorted(name for name in os.listdir(".") if name.endswith(".db")))
for name in ("disk.db", "again.db"):
    os.remove(name)
