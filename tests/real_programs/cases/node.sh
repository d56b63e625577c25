#!/usr/bin/env bash
# about: node: JSON, Buffer, worker_threads, zlib and crypto in the thread pool, child processes
# needs: node=nodejs
# proves: node
# timeout: 180
. "$RP_DIR/case.sh"

node "$RP_DIR/inputs/work.js" "$(pick 1 12)"
