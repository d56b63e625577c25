#!/usr/bin/env bash
# about: Python: multiprocessing by fork and by spawn; fork while threads allocate
# needs: python3.11=python3.11
# proves: python3.11
# timeout: 180
. "$RP_DIR/case.sh"

python_modes python_multiprocessing.py "$(pick 3 20)"
