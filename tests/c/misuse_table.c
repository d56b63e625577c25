/* The kinds of misuse that public collections try allocators on, each over three sizes:
 * `misuse_table KIND SIZE`, `misuse_table --list`. Compiled as C, for the kinds of C, and by
 * misuse_table.cpp as C++, for those of C++: a program of C loads no C++ library.
 *
 * A kind is caught if the program does not come as far as saying "not caught". What follows shows whether
 * the heap still works: blocks of many sizes that are apart and keep what is written to them. It ends with
 * status 0 if so, else with 3.
 * Everything goes through functions that are not inlined, with -fno-builtin, so that each call is made. */
#include <alloca.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __cplusplus
#include <string>
#endif
#include <unistd.h>

#define APART __attribute__((noinline, noclone))

APART static char *take(size_t n) { return (char *)malloc(n); }
APART static void give(void *p) { free(p); }
APART static void copy(void *to, const void *from, size_t n) { memcpy(to, from, n); }
APART static void flip(char *p, ptrdiff_t at) { ((volatile char *)p)[at] ^= 'A'; }

enum { MIB = 1 << 20 };
/* How far from its block a kind of overflow or underflow strikes. */
static ptrdiff_t far_away;
static char zeros[(256 << 10) + (1 << 20)];

static void aftermath(size_t size) {
    enum { N = 200 };
    static unsigned char *blocks[N];
    static size_t sizes[N];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            sizes[i] = i % 4 ? size : (size_t)16 << (i % 12);
            blocks[i] = (unsigned char *)malloc(sizes[i]);
            if (!blocks[i]) _exit(3);
            memset(blocks[i], i + round, sizes[i]);
        }
        for (int i = 0; i < N; i++)
            for (size_t at = 0; at < sizes[i]; at += at + 64 < sizes[i] ? 61 : 1)
                if (blocks[i][at] != (unsigned char)(i + round)) _exit(3);
        for (int i = 0; i < N; i++) free(blocks[(i * 7) % N]);
    }
}

static void not_caught(size_t size) {
    static const char words[] = "not caught\n";
    if (write(1, words, sizeof words - 1) < 0) _exit(4);
    aftermath(size);
    exit(0);
}

static void overflow(size_t n) {
    char *p = take(n);
    flip(p, (ptrdiff_t)n + far_away - 1);
    give(p);
}
static void underflow(size_t n) {
    char *p = take(n);
    flip(p, -far_away);
    give(p);
}
static void copy_overflow(size_t n) { copy(take(n), zeros, n + far_away); }
static void copy_underflow(size_t n) { copy(take(n) - far_away, zeros, n); }

static void twice(size_t n) {
    char *p = take(n);
    give(p);
    give(p);
}
static void twice_after_others(size_t n) {
    char *p = take(n);
    give(p);
    for (int i = 0; i < 1024; i++) give(take(n));
    give(p);
}
static void twice_around_another(size_t n) {
    char *p = take(n), *q = take(n);
    give(p);
    give(q);
    give(p);
}
static void twice_then_use(size_t n) {
    char *p = take(n);
    give(p);
    give(p);
    for (int i = 0; i < 1 << 18; i++) give(take(n));
}
static void twice_with_a_new_owner(size_t n) {
    char *p = take(n);
    give(p);
    char *q = take(n);
    give(p);
    give(q);
}
static void run_a_block(size_t n) {
    char *p = take(n);
    static const unsigned char code[] = {0x90, 0x90, 0xc3};
    copy(p, code, sizeof code);
    void (*function)(void);
    memcpy(&function, &p, sizeof p);
    function();
}
static void impossible_size(size_t n) {
    if (!malloc(SIZE_MAX - 1)) exit(0);
    (void)n;
}
static void free_small_number(size_t n) { (void)n, give((void *)1); }
static void free_on_stack_dynamic(size_t n) { give(alloca(n)); }
static void free_on_stack(size_t n) {
    if (n <= 8) {
        char here[8];
        give(here);
    } else if (n <= 4096) {
        char here[4096];
        give(here);
    } else {
        char here[256 * 1024];
        give(here);
    }
}
static void free_near(size_t n) { give(take(n) + 4096); }
static void free_far(size_t n) { give(take(n) + (1 << 30)); }
static void free_off_by_one(size_t n) { give(take(n) + 1); }
static void free_off_by_eight(size_t n) { give(take(n) + 8); }
static void reuse_at_once(size_t n) {
    char *p = take(n);
    uintptr_t was = (uintptr_t)p;
    give(p);
    if ((uintptr_t)take(n) != was) exit(0);
}
static void reuse_by_half(size_t n) {
    char *p = take(n);
    uintptr_t was = (uintptr_t)p;
    give(p);
    if ((uintptr_t)take(n / 2) != was) exit(0);
}
/* The public collection compares the old pointer with itself, which nobody can fail: never caught. */
static void resized_pointer_kept(size_t n) {
    char *p = take(8);
    if (!realloc(p, 1024 + n)) exit(0);
}
static void read_of_nothing(size_t n) {
    (void)n; printf("%d", *(volatile char *)take(0)); }
static void read_of_nothing_then_free(size_t n) {
    (void)n;
    char *p = take(0);
    printf("%d", *(volatile char *)p);
    give(p);
}
static void write_to_nothing(size_t n) {
    (void)n; flip(take(0), 0); }
static void write_to_nothing_then_free(size_t n) {
    (void)n;
    char *p = take(0);
    flip(p, 0);
    give(p);
}
APART static void fill(char *p, size_t n) { memset(p, 'A', n); }
static void write_after_free(size_t n) {
    char *p = take(n);
    give(p);
    fill(p, n);
}
static void write_after_free_then_use(size_t n) {
    char *p = take(n);
    give(p);
    fill(p, n);
    for (int i = 0; i < 1 << 18; i++) give(take(n));
}
static void contents_after_free(size_t n) {
    char *p = take(n);
    fill(p, n);
    give(p);
    for (size_t i = 0; i < n; i++)
        if (((volatile char *)p)[i]) return;
    exit(0);
}
static void contents_of_a_new_block(size_t n) {
    enum { N = 4096 };
    static char *blocks[N];
    size_t count = n > 4096 ? 256 : N;
    for (size_t i = 0; i < count; i++) fill(blocks[i] = take(n), n);
    for (size_t i = 0; i < count; i++) give(blocks[i]);
    char *p = take(n);
    for (size_t i = 0; i < n; i++)
        if (((volatile char *)p)[i]) return;
    exit(0);
}
#ifdef __cplusplus
static void one_deleted_as_array(size_t) { char *p = new char; delete[] p; }
static void object_deleted_as_array(size_t) { std::string *p = new std::string; delete[] p; }
static void array_deleted_as_one(size_t n) { char *p = new char[n]; delete p; }
static void objects_deleted_as_one(size_t n) { std::string *p = new std::string[n]; delete p; }
APART static char *one_new() { return new char; }
static void deleted_as_larger(size_t) {
    struct larger { size_t all[9]; };
    delete (larger *)one_new();
}
#endif

static const struct kind {
    const char *name;
    void (*run)(size_t);
    ptrdiff_t far_away;
} kinds[] = {
#ifndef __cplusplus
    {"overflow by 1", overflow, 1},
    {"overflow by 32", overflow, 32},
    {"overflow by 1 MiB", overflow, MIB},
    {"underflow by 1", underflow, 1},
    {"underflow by 32", underflow, 32},
    {"underflow by 1 MiB", underflow, MIB},
    {"copied overflow by 1", copy_overflow, 1},
    {"copied overflow by 32", copy_overflow, 32},
    {"copied overflow by 1 MiB", copy_overflow, MIB},
    {"copied underflow by 1", copy_underflow, 1},
    {"copied underflow by 32", copy_underflow, 32},
    {"copied underflow by 1 MiB", copy_underflow, MIB},
    {"double free", twice, 0},
    {"double free after others", twice_after_others, 0},
    {"double free around another", twice_around_another, 0},
    {"double free, then use", twice_then_use, 0},
    {"double free with a new owner", twice_with_a_new_owner, 0},
    {"code in a block", run_a_block, 0},
    {"impossible size", impossible_size, 0},
    {"free of 1", free_small_number, 0},
    {"free of alloca", free_on_stack_dynamic, 0},
    {"free of a stack array", free_on_stack, 0},
    {"free of p + 4096", free_near, 0},
    {"free of p + 1 GiB", free_far, 0},
    {"free of p + 1", free_off_by_one, 0},
    {"free of p + 8", free_off_by_eight, 0},
    {"reuse at once", reuse_at_once, 0},
    {"reuse at once, half the size", reuse_by_half, 0},
    {"resized pointer kept", resized_pointer_kept, 0},
    {"read of 0 bytes", read_of_nothing, 0},
    {"read of 0 bytes, then free", read_of_nothing_then_free, 0},
    {"write to 0 bytes", write_to_nothing, 0},
    {"write to 0 bytes, then free", write_to_nothing_then_free, 0},
    {"write after free", write_after_free, 0},
    {"write after free, then use", write_after_free_then_use, 0},
    {"contents after free", contents_after_free, 0},
    {"contents of a new block", contents_of_a_new_block, 0},
#else
    {"new, delete[] (char)", one_deleted_as_array, 0},
    {"new, delete[] (string)", object_deleted_as_array, 0},
    {"new[], delete (char)", array_deleted_as_one, 0},
    {"new[], delete (string)", objects_deleted_as_one, 0},
    {"delete as a larger type", deleted_as_larger, 0},
#endif
};

int main(int argc, char **argv) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (argc == 2) printf("%s\n", kinds[i].name);
        if (argc == 3 && strcmp(argv[1], kinds[i].name) == 0) {
            size_t size = strtoull(argv[2], NULL, 0);
            far_away = kinds[i].far_away;
            kinds[i].run(size);
            not_caught(size);
        }
    }
    return argc == 2 ? 0 : 5;
}
