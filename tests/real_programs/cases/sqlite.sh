#!/usr/bin/env bash
# about: the sqlite3 shell: a large workload in memory and on disk, integrity checks, dumps compared
# needs: sqlite3=sqlite3
# proves: sqlite3
. "$RP_DIR/case.sh"

rows=$(pick 30000 400000)
sed "s/@ROWS@/$rows/g" "$RP_DIR/inputs/sqlite.sql" >work.sql

for database in :memory: disk.db; do
    echo "== $database"
    { cat work.sql; echo ".output dump.sql"; echo ".dump"; } | sqlite3 -batch -bail "$database"
    sum dump.sql
    grep -c INSERT dump.sql
done
echo "== reloaded"
sqlite3 -batch -bail again.db <dump.sql
sqlite3 again.db .dump | cmp - dump.sql
sqlite3 again.db "PRAGMA integrity_check" "VACUUM" "SELECT count(*), sum(n) FROM a"
sqlite3 -json again.db "SELECT * FROM a ORDER BY id LIMIT 3"
sqlite3 -csv again.db "SELECT * FROM a ORDER BY word, id" | sha256sum
