#!/usr/bin/env bash
# about: redis-server: every type loaded, redis-benchmark, saved, reloaded, append-only file, lazy frees; digests compared
# needs: redis-server=redis-server redis-cli=redis-tools redis-benchmark=redis-tools python3.11=python3.11
# proves: redis-(server|check-rdb) redis-cli redis-benchmark
# timeout: 180
# order: 20
. "$RP_DIR/case.sh"
# Debian's redis-server is a link to redis-check-rdb. It is linked against libjemalloc.so.2 and, besides the
# malloc family, takes mallctl, nallocx and malloc_stats_print from there; those only ask or tune.

port=$(free_port)
server=

ask() {
    redis-cli -h 127.0.0.1 -p "$port" "$@"
}

start() {
    redis-server --port "$port" --bind 127.0.0.1 --save "" --dir "$PWD" --dbfilename dump.rdb --daemonize no \
        --enable-debug-command local --io-threads 2 --hash-max-listpack-entries 32 "$@" >>"$RP_LOG" 2>&1 &
    server=$!
    wait_until 30 ask ping
    while [ "$(ask ping)" != PONG ]; do sleep 0.1; done # loading
    in_charge "$server"
}

stop() {
    ask shutdown "$@" >>"$RP_LOG" 2>&1 || true
    local status=0
    wait "$server" || status=$?
    server=
    echo "server ended with $status"
}

# says SECTION LINE: whether the server's report of a section has the line.
says() {
    ask info "$1" | tr -d '\r' | grep -qx "$2"
}

trap 'if [ -n "$server" ]; then kill -9 "$server"; fi' EXIT

echo "== load"
start
"$RP_PYTHON" "$RP_DIR/inputs/redis_load.py" "$(pick 4000 60000)" | ask --pipe 2>&1 | grep errors
ask dbsize
loaded=$(ask debug digest)
echo "$loaded"
for key in hash:1 list:2 set:3 zset:4 stream:5 string:6; do ask debug digest-value "$key"; ask object encoding "$key"; done
ask zrange zset:4 0 5 withscores
ask sort list:2 limit 0 5 alpha
ask eval "local n = 0; for _, k in ipairs(redis.call('keys', 'h*')) do n = n + redis.call('hlen', k) end return n" 0

echo "== benchmark"
redis-benchmark -h 127.0.0.1 -p "$port" -n "$(pick 5000 100000)" -c 20 --threads 2 -P 4 -d 300 -r 2000 -q --dbnum 1 \
    -t set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100,mset >>"$RP_LOG" 2>&1
if [ "$(ask debug digest)" = "$loaded" ]; then die "the benchmark wrote nothing"; fi
ask -n 1 flushdb async
[ "$(ask debug digest)" = "$loaded" ] || die "the data changed beside the benchmark"

echo "== saved and reloaded"
redis-benchmark -h 127.0.0.1 -p "$port" -n 2000 -c 10 -r 500 -q --dbnum 2 -t set,lpush,hset,zadd >>"$RP_LOG" 2>&1
before=$(ask debug digest)
ask bgsave >>"$RP_LOG"
wait_until 60 says persistence rdb_bgsave_in_progress:0
says persistence rdb_last_bgsave_status:ok
ask save
stop nosave
redis-check-rdb dump.rdb >>"$RP_LOG"
start
[ "$(ask debug digest)" = "$before" ] || die "the reloaded data differ from the saved"
ask debug reload
[ "$(ask debug digest)" = "$before" ] || die "the data differ after debug reload"

echo "== append-only file"
ask -n 2 flushdb async
ask config set appendonly yes
wait_until 60 says persistence aof_rewrite_in_progress:0
"$RP_PYTHON" "$RP_DIR/inputs/redis_load.py" 500 | sed 's/:\([0-9]\)/;\1/' | ask --pipe 2>&1 | grep errors
before=$(ask debug digest)
echo "$before"
stop
start --appendonly yes
[ "$(ask debug digest)" = "$before" ] || die "the append-only file holds other data"
ask memory purge
ask unlink set:3 zset:4 hash:1
ask flushall async
ask dbsize
stop nosave
