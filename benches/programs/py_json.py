"""JSON encoded and decoded: dicts, lists, strings, floats, all short-lived."""
import json

records = [{"id": i, "name": f"name {i}", "tags": [f"t{i % 7}", f"u{i % 11}"], "place": {"x": i / 3, "y": i / 7, "open": True}}
           for i in range(4000)]
total = 0
for _ in range(12):
    text = json.dumps(records)
    back = json.loads(text)
    back.sort(key=lambda r: r["name"])
    total += len(text) + len(back)
print(total)
