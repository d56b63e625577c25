#!/usr/bin/env bash
# about: gcc compiling, assembling and linking a large generated file; every output byte compared
# needs: gcc=gcc python3.11=python3.11
# timeout: 180
# proves: .*gcc-[0-9]* cc1 .*as .*ld.bfd
. "$RP_DIR/case.sh"

"$RP_PYTHON" "$RP_DIR/inputs/generate_c.py" "$(pick 120 1200)" >large.c
wc -l <large.c
gcc -O2 -g -Wall -Wextra -S large.c -o large.s
gcc -O1 -c -pipe large.c -o large.o
gcc -E large.c -o large.i
gcc large.o -o large
sum large.s large.o large.i large
./large
echo "== errors"
sed -i 's/^    return sum;/    return sum +;/' large.c
if gcc -c large.c 2>errors; then die "a broken file compiled"; fi
sum errors
