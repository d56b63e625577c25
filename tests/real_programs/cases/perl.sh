#!/usr/bin/env bash
# about: perl: hashes, regular expressions, sorting, closures, fork, pack
# needs: perl=perl
# proves: perl
. "$RP_DIR/case.sh"

export PERL_HASH_SEED=0 PERL_PERTURB_KEYS=0
perl -w "$RP_DIR/inputs/work.pl" "$(pick 60000 800000)"
