"""Text: splitting, joining, regular expressions, counting, sorting."""
import collections
import re

text = " ".join(f"word{i % 977} {i * 31 % 1009}-{i % 17} the_{i % 53}, {'x' * (i % 40)}." for i in range(12000))
total = 0
for n in range(8):
    words = re.findall(r"[a-z_]+\d*|\d+", text)
    count = collections.Counter(w.upper() for w in words)
    lines = [f"{w:>20}|{c:6d}|{w[::-1]}" for w, c in sorted(count.items(), key=lambda item: (-item[1], item[0]))]
    total += len("\n".join(lines)) + len(re.sub(r"(\w+)-(\w+)", r"\2_\1", text))
print(total)
