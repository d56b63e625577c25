#!/usr/bin/env bash
# about: find, sort, awk, sed, grep, tar, diff, xargs in pipelines over generated files
# needs: find=findutils sort=coreutils mawk=mawk tar=tar diff=diffutils gzip=gzip bc=bc
# proves: find sort mawk sed grep tar diff xargs gzip bc
. "$RP_DIR/case.sh"

lines=$(pick 60000 1000000)
mawk -v n="$lines" 'BEGIN { srand(3); for (i = 0; i < n; i++) { s = (s * 69069 + 12345) % 1048576; print s % 5003, "word" s % 997, i, substr("abcdefghijklmnopqrstuvwxyz", s % 26 + 1) } }' >text
sort -k2,2 -k1,1n -S 4M --parallel=2 text | tee sorted | sha256sum
sort -u -S 1M -T . text | sha256sum
mawk '{ count[$2]++; sum[$2] += $1; all[$2] = substr(all[$2] $4, 1, 500) } END { for (w in count) print w, count[w], sum[w], length(all[w]) }' text | sort | sha256sum
sed -E 's/^([0-9]+) (word)([0-9]*)/\3-\2-\1/; /x$/d' text | sha256sum
grep -E '(a|b).*(y|z)$' text | grep -vc '99'
grep -oiP '(?<=word)\d+(?= \d*7 )' text | sort -n | uniq -c | sort -rn | sed -n 1,3p
mkdir -p tree/{a,b,c}/{1,2,3}
split -n l/90 -a 3 text tree/part.
for part in tree/part.*; do mv "$part" "tree/$(sum "$part" | cut -c 1 | sed 's/[0-7]/a/; s/[89b-d]/b/; s/[ef]/c/')/2/"; done
find tree -type f -name 'part.*' -size +1k -printf '%P %s\n' | sort | sha256sum
find tree -type f -print0 | sort -z | xargs -0 -n 5 -P 2 sha256sum | sort | sha256sum
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - tree | tee tree.tar | sha256sum
gzip -n9c tree.tar | gzip -dc | cmp - tree.tar
mkdir out && tar -xf tree.tar -C out && diff -r tree out/tree && echo "same tree"
shuf --random-source=<(yes) text >shuffled
diff text shuffled | wc -l || true
head -n 3000 sorted >one && head -n 6000 sorted | tail -n 3500 >two
diff -u --label one --label two one two | sha256sum || true
join <(sort -k1,1 one) <(sort -k1,1 two) | sha256sum
comm -12 <(sort one) <(sort two) | wc -l
echo "scale=300; 4*a(1); 2^2000 % 997" | bc -l
od -A n -t x1 -N 30000 text | tr -d ' \n' | wc -c
expr "$(factor 1000000007000000021 18446744073709551557)" : '.*'
