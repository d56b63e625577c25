#!/usr/bin/env bash
# about: Python: subprocess: pipes, threads that spawn, preexec_fn, timeouts
# needs: python3.11=python3.11
# proves: python3.11
# timeout: 180
. "$RP_DIR/case.sh"

python_modes python_subprocess.py "$(pick 12 120)"
