#!/usr/bin/env bash
# about: Python: sqlite3 in memory and on disk, callbacks, blobs, backup, dump
# needs: python3.11=python3.11
# proves: python3.11
# timeout: 120
. "$RP_DIR/case.sh"

python_modes python_sqlite3.py "$(pick 4000 30000)"
