#!/usr/bin/env bash
# about: CPython's own test_threading
# needs: python3.11-tests=libpython3.11-testsuite
# proves: python3.11
# timeout: 240
# order: 10
. "$RP_DIR/case.sh"

cpython_test test_threading malloc
