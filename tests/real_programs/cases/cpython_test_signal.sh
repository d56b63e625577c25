#!/usr/bin/env bash
# about: CPython's own test_signal
# needs: python3.11-tests=libpython3.11-testsuite
# proves: python3.11
# timeout: 240
# order: 11
. "$RP_DIR/case.sh"

# These two sleep for 30 s and 10 s and allocate nothing meanwhile.
skip=()
if [ "$RP_SIZE" = quick ]; then
    skip=(--ignore '*test_siginterrupt_off' --ignore '*test_keyboard_interrupt_exit_code')
fi
cpython_test test_signal malloc ${skip[@]+"${skip[@]}"}
