#!/usr/bin/env bash
# about: a bash script of 2,000 forks: substitutions, pipes, background jobs, large variables
# needs: bash=bash
# proves: bash
# timeout: 180
. "$RP_DIR/case.sh"

forks=$(pick 2000 20000)
declare -A table=()
total=0
for ((n = 0; n < forks / 4; n++)); do
    table[$n]=$(printf 'value %s %s' "$n" "${table[$((n / 2))]:-}") # one fork
    table[$n]=${table[$n]:0:200}
    if (exit $((n % 3))); then total=$((total + 1)); fi # one
    read -r word < <(printf '%s\n' "${table[$n]}" | { read -r -a words; echo "${words[-1]}"; }) # two and more
    total=$((total + ${#word}))
done
echo "$total ${#table[@]}"
printf '%s\n' "${table[@]}" | sha256sum

jobs=()
for n in {1..40}; do
    (
        text=$n
        for _ in {1..12}; do text+=$text; done
        exit $((${#text} % 251))
    ) &
    jobs+=($!)
done
for n in "${!jobs[@]}"; do
    status=0
    wait "${jobs[$n]}" || status=$?
    printf '%s ' "$status"
done
echo
large=$(head -c 40000 /dev/zero | tr '\0' 'y')
echo "${#large} ${#BASH_VERSINFO[@]}"
large=${large//yy/z}
echo "${#large}"
