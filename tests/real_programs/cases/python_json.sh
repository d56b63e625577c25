#!/usr/bin/env bash
# about: Python: json round trips of random documents, with and without the C encoder
# needs: python3.11=python3.11
# proves: python3.11
# timeout: 120
. "$RP_DIR/case.sh"

python_modes python_json.py "$(pick 30 200)"
