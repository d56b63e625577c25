/* A program with `operator new` of its own, linked into it statically, and the library's `operator delete`:
 * `own_new CASE`. What it makes by `new` is `malloc`'s to a debug hook, with a size that the operator rounded. */
#include "check.h"
#include <new>

__attribute__((noinline)) void *operator new(size_t n) {
    void *p = malloc(n ? n : 1);
    if (!p) abort();
    return p;
}
__attribute__((noinline)) void *operator new(size_t n, std::align_val_t align) {
    size_t mask = (size_t)align - 1;
    void *p = aligned_alloc((size_t)align, (n + mask) & ~mask);
    if (!p) abort();
    return p;
}

struct alignas(64) wide { char all[64], one; };
struct none {};
static const size_t tiers[] = {1, 10, 5000, 400000, 5000000};

__attribute__((noinline)) static char *made(size_t n) { return (char *)::operator new(n); }
__attribute__((noipa)) static void unmade(void *p) { ::operator delete(p); }
static void write_at(void *p, ptrdiff_t at, int value) { ((volatile char *)p)[at] = (char)value; }

CASE(one_block) { unmade(made(8)); }
CASE(everything) {
    for (size_t n : tiers) {
        ::operator delete(made(n));
        ::operator delete(made(n), n);
        free(made(n));
    }
    /* Two sizes that the operator rounds and `delete` does not. */
    delete new none;
    ::operator delete(::operator new(72, std::align_val_t(64)), (size_t)72, std::align_val_t(64));
    delete new wide;
    delete[] new int[10];
    /* And the other way: made by the library's `new[]`, freed by the one who knows no API. */
    char *volatile all = new char[100];
    free(all);
}
CASE(overflow) { char *p = made(10); write_at(p, 10, 0x78); unmade(p); }
CASE(underflow) { char *p = made(10); write_at(p, -1, 0x41); unmade(p); }
CASE(twice) { char *p = made(10); unmade(p); unmade(p); }
CASE(inside) { unmade(made(5000) + 16); }
CASE(written_after_free) { char *p = made(100); unmade(p); write_at(p, 99, 1); }
CASE(sized_wrongly) { operator delete[](operator new[](100), (size_t)200); }
