#!/usr/bin/env bash
# about: Python: 8 threads allocating and passing objects to each other; 300 short threads
# needs: python3.11=python3.11
# proves: python3.11
# timeout: 180
. "$RP_DIR/case.sh"

python_modes python_threading.py "$(pick 6 40)"
