#!/usr/bin/env bash
# about: Python: pickle in every protocol, copy, shelve, marshal
# needs: python3.11=python3.11
# proves: python3.11
# timeout: 120
. "$RP_DIR/case.sh"

python_modes python_pickle.py "$(pick 30 200)"
