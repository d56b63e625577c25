#!/usr/bin/env bash
# about: xz -T2 round trips at several levels
# needs: xz=xz-utils python3.11=python3.11
# proves: xz
. "$RP_DIR/case.sh"

"$RP_PYTHON" "$RP_DIR/inputs/generate_data.py" "$(pick 4 40)" >data
sum data
for level in 0 2 6; do
    echo "== level $level"
    xz -T2 --block-size=1MiB -"$level" -k -c data >packed
    sum packed
    mv packed packed.xz
    xz -t packed.xz
    xz -d -T2 -c packed.xz >unpacked
    cmp data unpacked
done
echo "== broken"
head -c 100000 packed.xz >short.xz
if xz -d -T2 -c short.xz >short; then die "a short file was taken for whole"; fi
sum short
