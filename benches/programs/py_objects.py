"""Instances, lists, dicts and closures; trees that live and die."""


class Node:
    def __init__(self, key, left=None, right=None):
        self.key, self.left, self.right = key, left, right

    def sum(self):
        return self.key + (self.left.sum() if self.left else 0) + (self.right.sum() if self.right else 0)


def build(depth):
    return Node(depth, build(depth - 1), build(depth - 1)) if depth else Node(0)


kept = build(14)
total = 0
for n in range(20):
    total += build(12).sum()
    table = {i: [i, str(i), (i, n)] for i in range(20000)}
    total += sum(len(v) for v in table.values() if v[0] % 3)
print(total + kept.sum())
