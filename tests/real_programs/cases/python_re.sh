#!/usr/bin/env bash
# about: Python: re over generated text: search, split, sub, named groups
# needs: python3.11=python3.11
# proves: python3.11
# timeout: 120
. "$RP_DIR/case.sh"

python_modes python_re.py "$(pick 40 400)"
