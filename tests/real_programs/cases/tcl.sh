#!/usr/bin/env bash
# about: tclsh: dicts, lists, strings and regexps (Tcl caches blocks per thread above malloc)
# needs: tclsh=tcl
# proves: tclsh.*
. "$RP_DIR/case.sh"

tclsh "$RP_DIR/inputs/work.tcl" "$(pick 20000 300000)"
