"""One line per test of a JUnit file, sorted: name and outcome, without times."""
import sys
import xml.etree.ElementTree as ElementTree

lines = []
for case in ElementTree.parse(sys.argv[1]).getroot().iter("testcase"):
    kinds = {child.tag for child in case} & {"error", "failure", "skipped"}
    lines.append(f"{case.get('name')} {' '.join(sorted(kinds)) or 'ok'}")
print(f"{len(lines)} tests")
print("\n".join(sorted(lines)))
