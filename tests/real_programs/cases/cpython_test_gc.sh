#!/usr/bin/env bash
# about: CPython's own test_gc
# needs: python3.11-tests=libpython3.11-testsuite
# proves: python3.11
# timeout: 180
. "$RP_DIR/case.sh"

cpython_test test_gc "default malloc"
