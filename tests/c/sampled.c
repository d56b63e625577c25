/* Misuse of one block among many, for sampled guards to find: `sampled CASE`. */
#include "check.h"

enum { N = 100000 };
static char *volatile blocks[N];

__attribute__((noinline)) static char *made(size_t n) { return (char *)malloc(n); }
static void all_made(void) {
    for (int i = 0; i < N; i++) {
        blocks[i] = made(40);
        memset(blocks[i], i, 40);
    }
}
CASE(nothing_is_wrong) {
    for (int round = 0; round < 3; round++) {
        all_made();
        for (int i = 0; i < N; i++) {
            char *p = blocks[i];
            CHECK(p[0] == (char)i && p[39] == (char)i, "block %d changed", i);
            CHECK(malloc_usable_size(p) >= 40, "malloc_usable_size of block %d", i);
            if (i % 2) p = (char *)realloc(p, 90);
            CHECK(p[0] == (char)i && p[39] == (char)i, "block %d changed when resized", i);
            free(p);
        }
        for (int i = 0; i < N; i++) {
            char *p = (char *)calloc(5, 9);
            for (int at = 0; at < 45; at++) CHECK(!p[at], "calloc is not zero");
            free(blocks[i] = p);
        }
    }
}
CASE(overflow) {
    all_made();
    for (int i = 0; i < N; i++) ((volatile char *)blocks[i])[40] = 1;
    for (int i = 0; i < N; i++) free(blocks[i]);
}
CASE(far_overflow) {
    all_made();
    for (int i = 0; i < N; i++) ((volatile char *)blocks[i])[60] = 1;
}
CASE(use_after_free) {
    all_made();
    for (int i = 0; i < N; i++) {
        free(blocks[i]);
        ((volatile char *)blocks[i])[5] = 1;
    }
}
