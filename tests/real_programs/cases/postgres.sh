#!/usr/bin/env bash
# about: postgres: initdb, pgbench on a unix socket, queries, dump, stop, start again; sums and dump compared
# needs: initdb=postgresql pg_ctl=postgresql pgbench=postgresql-contrib psql=postgresql-client setpriv=util-linux
# proves: postgres initdb pg_ctl pgbench psql pg_dump
# timeout: 240
# order: 15
. "$RP_DIR/case.sh"

# postgres refuses to run as root.
as_user() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
    else
        "$@"
    fi
}
if [ "$(id -u)" = 0 ]; then
    chown postgres: .
fi
user=$(as_user id -un)

sql() {
    as_user psql -XAtq -v ON_ERROR_STOP=1 -h "$PWD" -U "$user" bench "$@"
}

start() {
    as_user pg_ctl -D data -w -t 60 -l server.log start \
        -o "-k '$PWD' -c listen_addresses='' -c fsync=off -c shared_buffers=32MB -c autovacuum=off -c jit=on" >>"$RP_LOG"
    local server
    server=$(head -n 1 data/postmaster.pid)
    in_charge "$server"
}

stop() {
    as_user pg_ctl -D data -w -t 60 -m "$1" stop >>"$RP_LOG"
}

trap 'if [ -f data/postmaster.pid ]; then stop immediate || true; fi; cat server.log >>"$RP_LOG" || true' EXIT

as_user initdb -D data -N -A trust -U "$user" -E UTF8 --locale=C >>"$RP_LOG"
start
as_user createdb -h "$PWD" -U "$user" bench
echo "== pgbench"
pgbench=(as_user pgbench -h "$PWD" -U "$user" -n -c 4 -j 2 --random-seed=42)
as_user pgbench -i -q -s "$(pick 1 10)" -h "$PWD" -U "$user" bench >>"$RP_LOG" 2>&1
"${pgbench[@]}" -t "$(pick 150 5000)" bench 2>>"$RP_LOG" | grep -E 'number of (transactions actually|failed)'
"${pgbench[@]}" -M prepared -S -t "$(pick 300 5000)" bench 2>>"$RP_LOG" | grep -E 'number of (transactions actually|failed)'

sums() {
    sql -c "SELECT sum(abalance) FROM pgbench_accounts" -c "SELECT sum(bbalance) FROM pgbench_branches" \
        -c "SELECT sum(tbalance) FROM pgbench_tellers" -c "SELECT sum(delta), count(*) FROM pgbench_history" \
        -c "SELECT md5(string_agg(aid || ':' || abalance, ',' ORDER BY aid)) FROM pgbench_accounts"
}
sums

echo "== queries"
sql <"$RP_DIR/inputs/work.sql"
# A backend that stays long enough to be looked at.
sql -c "SELECT pg_sleep(2)" >/dev/null &
sleeper=$!
sleep 0.5
backend=$(sql -c "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()")
in_charge "$backend"
wait "$sleeper"
as_user pg_dump -h "$PWD" -U "$user" -T pgbench_history bench | grep -vE '^\\(un)?restrict' | LC_ALL=C sort | sha256sum

echo "== stopped and started"
stop fast
start
sums
stop smart
if grep -E 'PANIC|FATAL|terminated by signal|corrupt' server.log; then die "the server's log complains"; fi
