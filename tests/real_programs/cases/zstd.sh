#!/usr/bin/env bash
# about: zstd -T2 round trips at several levels
# needs: zstd=zstd python3.11=python3.11
# proves: zstd
. "$RP_DIR/case.sh"

"$RP_PYTHON" "$RP_DIR/inputs/generate_data.py" "$(pick 4 30)" >data
sum data
for level in 1 5 12 16; do
    echo "== level $level"
    zstd -q -T2 -B1048576 -"$level" -k -c data >packed
    sum packed
    mv packed packed.zst
    zstd -q -t packed.zst
    zstd -q -d -c packed.zst >unpacked
    cmp data unpacked
done
echo "== dictionary"
split -b 2000 data piece.
zstd -q --train piece.* -o dictionary 2>>"$RP_LOG"
sum dictionary
zstd -q -T2 -10 --long=24 -D dictionary -c data | zstd -q -d --long=24 -D dictionary -c | cmp data -
