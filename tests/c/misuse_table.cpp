/* The kinds of misuse that public collections try allocators on, each over three sizes:
 * `misuse_table KIND SIZE`, `misuse_table --list`.
 *
 * A kind is caught if the program does not come as far as saying "not caught". What follows shows whether
 * the heap still works: blocks of many sizes that are apart and keep what is written to them. It ends with
 * status 0 if so, else with 3.
 * Everything goes through functions that are not inlined, with -fno-builtin, so that each call is made. */
#include <alloca.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <unistd.h>

#define APART __attribute__((noinline, noclone))

APART static char *take(size_t n) { return (char *)malloc(n); }
APART static void give(void *p) { free(p); }
APART static void copy(void *to, const void *from, size_t n) { memcpy(to, from, n); }
APART static void flip(char *p, ptrdiff_t at) { ((volatile char *)p)[at] ^= 'A'; }

static const ptrdiff_t MIB = 1 << 20;
static char zeros[(256 << 10) + (1 << 20)];

static void aftermath(size_t size) {
    enum { N = 200 };
    static unsigned char *blocks[N];
    static size_t sizes[N];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            sizes[i] = i % 4 ? size : (size_t)(16 << (i % 12));
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

template <ptrdiff_t FAR> static void overflow(size_t n) {
    char *p = take(n);
    flip(p, (ptrdiff_t)n + FAR - 1);
    give(p);
}
template <ptrdiff_t FAR> static void underflow(size_t n) {
    char *p = take(n);
    flip(p, -FAR);
    give(p);
}
template <ptrdiff_t FAR> static void copy_overflow(size_t n) { copy(take(n), zeros, n + FAR); }
template <ptrdiff_t FAR> static void copy_underflow(size_t n) { copy(take(n) - FAR, zeros, n); }

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
static void free_small_number(size_t) { give((void *)1); }
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
static void read_of_nothing(size_t) { printf("%d", *(volatile char *)take(0)); }
static void read_of_nothing_then_free(size_t) {
    char *p = take(0);
    printf("%d", *(volatile char *)p);
    give(p);
}
static void write_to_nothing(size_t) { flip(take(0), 0); }
static void write_to_nothing_then_free(size_t) {
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
static void one_deleted_as_array(size_t) { char *p = new char; delete[] p; }
static void object_deleted_as_array(size_t) { std::string *p = new std::string; delete[] p; }
static void array_deleted_as_one(size_t n) { char *p = new char[n]; delete p; }
static void objects_deleted_as_one(size_t n) { std::string *p = new std::string[n]; delete p; }
APART static char *one_new() { return new char; }
static void deleted_as_larger(size_t) {
    struct larger { size_t all[9]; };
    delete (larger *)one_new();
}

static const struct kind {
    const char *name;
    void (*run)(size_t);
    bool is_cxx;
} kinds[] = {
    {"overflow by 1", overflow<1>, false},
    {"overflow by 32", overflow<32>, false},
    {"overflow by 1 MiB", overflow<MIB>, false},
    {"underflow by 1", underflow<1>, false},
    {"underflow by 32", underflow<32>, false},
    {"underflow by 1 MiB", underflow<MIB>, false},
    {"copied overflow by 1", copy_overflow<1>, false},
    {"copied overflow by 32", copy_overflow<32>, false},
    {"copied overflow by 1 MiB", copy_overflow<MIB>, false},
    {"copied underflow by 1", copy_underflow<1>, false},
    {"copied underflow by 32", copy_underflow<32>, false},
    {"copied underflow by 1 MiB", copy_underflow<MIB>, false},
    {"double free", twice, false},
    {"double free after others", twice_after_others, false},
    {"double free around another", twice_around_another, false},
    {"double free, then use", twice_then_use, false},
    {"double free with a new owner", twice_with_a_new_owner, false},
    {"code in a block", run_a_block, false},
    {"impossible size", impossible_size, false},
    {"free of 1", free_small_number, false},
    {"free of alloca", free_on_stack_dynamic, false},
    {"free of a stack array", free_on_stack, false},
    {"free of p + 4096", free_near, false},
    {"free of p + 1 GiB", free_far, false},
    {"free of p + 1", free_off_by_one, false},
    {"free of p + 8", free_off_by_eight, false},
    {"reuse at once", reuse_at_once, false},
    {"reuse at once, half the size", reuse_by_half, false},
    {"resized pointer kept", resized_pointer_kept, false},
    {"read of 0 bytes", read_of_nothing, false},
    {"read of 0 bytes, then free", read_of_nothing_then_free, false},
    {"write to 0 bytes", write_to_nothing, false},
    {"write to 0 bytes, then free", write_to_nothing_then_free, false},
    {"write after free", write_after_free, false},
    {"write after free, then use", write_after_free_then_use, false},
    {"contents after free", contents_after_free, false},
    {"contents of a new block", contents_of_a_new_block, false},
    {"new, delete[] (char)", one_deleted_as_array, true},
    {"new, delete[] (string)", object_deleted_as_array, true},
    {"new[], delete (char)", array_deleted_as_one, true},
    {"new[], delete (string)", objects_deleted_as_one, true},
    {"delete as a larger type", deleted_as_larger, true},
};

int main(int argc, char **argv) {
    for (const kind &one : kinds) {
        if (argc == 2) printf("%s\t%d\n", one.name, one.is_cxx);
        if (argc == 3 && strcmp(argv[1], one.name) == 0) {
            size_t size = strtoull(argv[2], NULL, 0);
            one.run(size);
            not_caught(size);
        }
    }
    return argc == 2 ? 0 : 5;
}
