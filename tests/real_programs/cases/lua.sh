#!/usr/bin/env bash
# about: lua: tables, closures, string building, coroutines, the garbage collector's modes
# needs: lua5.4=lua5.4
# proves: lua5.4
. "$RP_DIR/case.sh"

lua5.4 "$RP_DIR/inputs/work.lua" "$(pick 1 12)"
