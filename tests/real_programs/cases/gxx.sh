#!/usr/bin/env bash
# about: g++ compiling templates, and its program: containers, threads, exceptions, every operator new
# needs: g++=g++
# proves: .*g[+][+]-[0-9]* cc1plus .*ld.bfd cxx_work cxx_work_static
# timeout: 180
. "$RP_DIR/case.sh"

source=$RP_DIR/inputs/cxx_work.cpp
g++ -std=c++20 -O1 -g -pthread -c "$source" -o cxx_work.o
g++ -pthread cxx_work.o -o cxx_work
sum cxx_work.o cxx_work
./cxx_work "$(pick 1 10)"
# With operator new in the executable itself; malloc still comes from the library.
g++ -pthread -static-libstdc++ -static-libgcc cxx_work.o -o cxx_work_static
./cxx_work_static 1
echo "== errors"
printf '#include <map>\n#include <string>\nstd::map<int, std::string> m{{"x", 1}};\nint main() { return m["a"]; }\n' >wrong.cpp
if g++ -c wrong.cpp 2>errors; then die "a broken file compiled"; fi
sum errors
