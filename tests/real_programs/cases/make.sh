#!/usr/bin/env bash
# about: make -j2 of a generated project: functions, includes, an archive, a program
# needs: make=make gcc=gcc ar=binutils
# proves: make cc1 .*-ar .*ld.bfd
. "$RP_DIR/case.sh"

mkdir -p src
units=$(pick 12 120)
for ((n = 1; n <= units; n++)); do
    printf '#include "all.h"\n#include <stdlib.h>\nint f%d(int x) { int *p = malloc(%d); *p = x * %d; x = *p; free(p); return x; }\n' "$n" $((n * 40)) "$n" >"src/f$n.c"
done
{ for ((n = 1; n <= units; n++)); do echo "int f$n(int x);"; done; } >src/all.h
{
    printf '#include "all.h"\n#include <stdio.h>\nint main(void) { long sum = 0;\n'
    for ((n = 1; n <= units; n++)); do echo "sum += f$n($n);"; done
    printf 'printf("%%ld\\n", sum); return 0; }\n'
} >src/main.c
cat >Makefile <<'MAKE'
SOURCES := $(sort $(wildcard src/f*.c))
OBJECTS := $(SOURCES:src/%.c=build/%.o)
WORDS := $(foreach a,0 1 2 3 4 5 6 7 8 9,$(foreach b,0 1 2 3 4 5 6 7 8 9,$(foreach c,0 1 2 3 4 5 6 7 8 9,w$a$b$c)))
$(foreach w,$(WORDS),$(eval $(w) := $(subst w,value-,$(w))))
all: build/program words.txt
build/program: build/main.o build/libf.a ; gcc $^ -o $@
build/libf.a: $(OBJECTS) ; ar rcsD $@ $^
build/%.o: src/%.c src/all.h | build ; gcc -O1 -MMD -c $< -o $@
build: ; mkdir -p $@
words.txt: ; $(file >$@,$(foreach w,$(sort $(filter-out w%7,$(WORDS))),$($(w))))
clean: ; rm -rf build words.txt
-include $(wildcard build/*.d)
MAKE
make -s -j2 >>"$RP_LOG"
./build/program
sum build/program build/libf.a words.txt
make -j2
touch -d 2000-01-01 build/f3.o
make -n 2>&1
make -s -j2 >>"$RP_LOG" 2>&1
make -p -n clean 2>/dev/null | grep -cE '^w[0-9]+ := value'
echo "bad: ; false" >>Makefile
if make -s bad 2>&1; then die "a failing recipe passed"; fi
