/* Misuse of every family and tier, for the debug hooks to name: `debug_mode CASE`. Stores and frees go by
 * opaque functions so that the compiler sees neither. */
#include "check.h"
#include <new>

static void write_at(void *p, ptrdiff_t at, int value) { ((volatile char *)p)[at] = (char)value; }
__attribute__((noinline)) static char *made(size_t n) { return (char *)malloc(n); }
__attribute__((noinline)) static void unmade(void *p) { free(p); }

static const size_t tiers[] = {10, 5000, 400000, 5000000};

CASE(nothing_is_wrong) {
    for (size_t n : tiers) {
        char *p = made(n);
        CHECK(malloc_usable_size(p) == n, "malloc_usable_size is %zu", malloc_usable_size(p));
        CHECK(p[0] == (char)0xCD && p[n - 1] == (char)0xCD, "not clean");
        p = (char *)realloc(p, 2 * n);
        CHECK(p[0] == (char)0xCD && p[2 * n - 1] == (char)0xCD, "growth is not clean");
        unmade(p);
        p = (char *)calloc(n, 1);
        for (size_t i = 0; i < n; i++) CHECK(!p[i], "calloc is not zero");
        unmade(p);
        p = (char *)aligned_alloc(4096, n);
        CHECK((uintptr_t)p % 4096 == 0, "aligned_alloc");
        unmade(p);
    }
    delete new int;
    delete[] new int[10];
    struct alignas(128) wide { char all[128]; };
    delete new wide;
    delete[] new wide[3];
    unmade(NULL);
}
CASE(overflow_by_one) { char *p = made(10); strcpy(p, "abcdefghi"); write_at(p, 10, 0x78); unmade(p); }
CASE(underflow_by_one) { char *p = made(20); write_at(p, -1, 0x41); unmade(p); }
CASE(new_freed_by_free) { int *p = new int; unmade(p); }
CASE(array_deleted_as_one) { char *p = new char[33]; ::operator delete(p); }
CASE(malloc_deleted) { ::operator delete(made(8)); }
CASE(sized_wrongly) { ::operator delete(::operator new(100), (size_t)200); }
CASE(aligned_wrongly) { ::operator delete(::operator new(100, std::align_val_t(64))); }
CASE(twice) { char *p = made(10); unmade(p); unmade(p); }
CASE(twice_by_realloc) { char *p = made(10); unmade(p); p = (char *)realloc(p, 20); }
CASE(twice_huge) { char *p = made(400000); unmade(p); unmade(p); }
CASE(twice_after_many) {
    char *p = made(10);
    unmade(p);
    for (int i = 0; i < 1000; i++) unmade(made(10));
    unmade(p);
}
CASE(written_after_free_noticed_at_exit) { char *p = made(100); unmade(p); write_at(p, 99, 1); }
CASE(written_after_free_noticed_on_reuse) {
    char *p = made(100);
    unmade(p);
    write_at(p, 0, 1);
    for (int i = 0; i < 100000; i++) unmade(made(5000));
    say(1, "not noticed\n");
    _exit(0);
}
CASE(interior) { char *p = made(5000); unmade(p + 16); }
CASE(between_blocks) { char *p = made(5000); unmade(p - 32); }
CASE(overflow_huge) { char *p = made(400001); write_at(p, 400001, 1); unmade(p); }
CASE(far_overflow_huge_faults) { char *p = made(400000); write_at(p, 400000 + 4096, 1); unmade(p); }
CASE(use_after_free_huge_faults) { char *p = made(5000000); unmade(p); write_at(p, 3000000, 1); }
