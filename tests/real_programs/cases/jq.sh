#!/usr/bin/env bash
# about: jq: grouping, recursion, regular expressions, streaming over a large document
# needs: jq=jq
# proves: jq
. "$RP_DIR/case.sh"

jq -n -c --argjson n "$(pick 20000 300000)" '[range($n) | {id: ., name: "n\(. * 7919 % 1009)", tags: [range(. % 5) | "t\(.)"], deep: {a: {b: (. / 3)}}}]' >data.json
sum data.json
jq -c 'group_by(.name) | map({name: .[0].name, n: length, ids: (map(.id) | add)}) | sort_by(.n, .name) | .[:5]' data.json
jq '[.. | numbers] | add' data.json
jq -r '.[] | select(.name | test("7$")) | [.id, .name, (.tags | join("+"))] | @csv' data.json | sha256sum
jq -c --stream 'select(length == 2 and (.[0] | length) == 4)' data.json | sha256sum
jq -c 'map(.name |= sub("n(?<d>[0-9]+)"; "\(.d)n")) | map(.deep) | unique | length' data.json
jq -S . data.json | sha256sum
if jq . <(head -c 5000 data.json) 2>&1 | tail -n 1; then die "a short document was taken for whole"; fi
