#!/usr/bin/env bash
# about: curl: file:// and a local HTTP server of Python's, serial and parallel transfers
# needs: curl=curl python3.11=python3.11
# proves: curl python3.11
. "$RP_DIR/case.sh"

mkdir files
for n in {1..40}; do head -c $((n * n * 200)) <(yes "line $n") >"files/$n.txt" || true; done
cat files/*.txt | sha256sum
curl -sS "file://$PWD/files/[1-40].txt" | sha256sum
curl -sS -r 100-2000 "file://$PWD/files/40.txt" | sha256sum

port=$(free_port)
(cd files && exec "$RP_PYTHON" -u -m http.server --bind 127.0.0.1 "$port") >>"$RP_LOG" 2>&1 &
server=$!
trap 'kill $server' EXIT
wait_until 30 curl -sS -o /dev/null "http://127.0.0.1:$port/1.txt"
in_charge "$server"
mkdir got
curl -sS --parallel --parallel-max 8 "http://127.0.0.1:$port/[1-40].txt" -o "got/#1.txt" 2>>"$RP_LOG" # its progress
diff -r files got && echo same
curl -sS -o /dev/null -w '%{http_code} %{size_download} %{content_type}\n' "http://127.0.0.1:$port/7.txt"
curl -sS -o /dev/null -w '%{http_code}\n' "http://127.0.0.1:$port/none"
curl -sS "file://$PWD/none" 2>&1 || echo "ended with $?"
