/* What every C and C++ test program shares: named cases, failures with a place, block patterns.
 *
 * Nothing in here allocates, so a failure can be reported from any state of the heap.
 * TEST_ARM says what the program runs on: unset or "glibc" is the control arm (a failure there is a
 * bug of the test), "preload" is our library, "pass" our library passing everything through, "peer"
 * another allocator. */
#ifndef CHECK_H
#define CHECK_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* Cases register themselves; main, in cases.c, runs the one named or all of them. */
struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
};
void add_case(struct test_case *test_case);

#define CASE(case_name)                                                       \
    static void case_name(void);                                              \
    static struct test_case case_of_##case_name = {#case_name, case_name, 0}; \
    __attribute__((constructor)) static void add_##case_name(void) {          \
        add_case(&case_of_##case_name);                                       \
    }                                                                         \
    static void case_name(void)

static inline int arm_is(const char *arm) {
    const char *now = getenv("TEST_ARM");
    return now && strcmp(now, arm) == 0;
}
/* Our library is loaded: every symbol of its contract must be there. */
static inline int preloaded(void) { return arm_is("preload") || arm_is("pass"); }
/* Our library also serves the calls: the promises that go beyond glibc's hold. */
static inline int ours(void) { return arm_is("preload"); }
/* Ours, and every block wears a guard. */
static inline int guarded(void) {
    const char *mode = getenv("PYMALLOC"), *conf = getenv("PYMALLOC_CONF");
    return ours() && ((mode && strcmp(mode, "debug") == 0) || (conf && strstr(conf, "checks:on")));
}

/* dprintf allocates its buffer; these may be called where malloc must not be. */
static inline void say_list(int file, const char *format, va_list arguments) {
    char text[1024];
    int length = vsnprintf(text, sizeof text, format, arguments);
    if (length > (int)sizeof text - 1) length = (int)sizeof text - 1;
    if (write(file, text, (size_t)length) < 0) _exit(2);
}
__attribute__((format(printf, 2, 3), unused)) static void say(int file, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say_list(file, format, arguments);
    va_end(arguments);
}
__attribute__((noreturn, format(printf, 3, 4), unused)) static void fail(const char *file, int line,
                                                                         const char *format, ...) {
    say(2, "FAILED %s:%d: ", file, line);
    va_list arguments;
    va_start(arguments, format);
    say_list(2, format, arguments);
    va_end(arguments);
    say(2, "\n");
    _exit(1);
}
#define CHECK(condition, ...)                                  \
    do {                                                       \
        if (!(condition)) fail(__FILE__, __LINE__, __VA_ARGS__); \
    } while (0)

/* The compiler must know neither sizes nor what became of a pointer. */
static inline size_t hide(size_t n) {
    __asm__ volatile("" : "+r"(n));
    return n;
}
static inline void *hide_pointer(void *p) {
    __asm__ volatile("" : "+r"(p));
    return p;
}

/* splitmix64: one seed, one sequence, on every machine. */
static inline uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}
static inline uint64_t next_random(uint64_t *state) { return mix(*state += 0x9e3779b97f4a7c15); }

/* The pattern of a block: byte `at` of the block tagged `tag`. Blocks up to DENSE bytes are written
 * whole; of larger ones the first DENSE, eight bytes in every 512, and the last sixteen. */
#define DENSE 512
static inline unsigned char pattern(uint64_t tag, size_t at) {
    return (unsigned char)(((tag + (at >> 3)) * 0x9e3779b97f4a7c15u) >> (8 * (at & 7)));
}
static inline uint64_t pattern_word(uint64_t tag, size_t at) {
    return (tag + (at >> 3)) * 0x9e3779b97f4a7c15u;
}
static inline void fill(void *block, size_t size, uint64_t tag) {
    unsigned char *bytes = (unsigned char *)block;
    for (size_t at = 0; at + 8 <= size; at += at < DENSE ? 8 : 512) {
        uint64_t word = pattern_word(tag, at);
        memcpy(bytes + at, &word, 8);
    }
    for (size_t at = size > 16 ? size - 16 : 0; at < size; at++) bytes[at] = pattern(tag, at);
}
/* Whether the first `keep` bytes of a block filled with `size` are still its own. */
static inline void verify_prefix(const void *block, size_t keep, size_t size, uint64_t tag,
                                 const char *after) {
    const unsigned char *bytes = (const unsigned char *)block;
    for (size_t at = 0; at + 8 <= keep; at += at < DENSE ? 8 : 512) {
        uint64_t word;
        memcpy(&word, bytes + at, 8);
        CHECK(word == pattern_word(tag, at), "%s: block %p of %zu bytes differs at byte %zu: %#lx, not %#lx",
              after, block, size, at, (unsigned long)word, (unsigned long)pattern_word(tag, at));
    }
    if (keep != size) return;
    for (size_t at = size > 16 ? size - 16 : 0; at < size; at++)
        CHECK(bytes[at] == pattern(tag, at), "%s: block %p of %zu bytes differs at byte %zu of its end", after,
              block, size, at);
}
static inline void verify(const void *block, size_t size, uint64_t tag, const char *after) {
    verify_prefix(block, size, size, tag, after);
}
static inline void check_zero(const void *block, size_t size, const char *what) {
    const unsigned char *bytes = (const unsigned char *)block;
    for (size_t at = 0; at < size; at++)
        CHECK(bytes[at] == 0, "%s: byte %zu of %zu is %#x, not zero", what, at, size, bytes[at]);
}
static inline void check_aligned(const void *block, size_t align, size_t size, const char *who) {
    /* Other allocators align blocks below 16 bytes to 8, which is no question of the table that compares them. */
    if (arm_is("peer") && size < 16 && align == 16) align = 8;
    CHECK(((uintptr_t)block & (align - 1)) == 0, "%s of %zu bytes: %p is not aligned to %zu", who, size, block,
          align);
}

/* A herd of blocks of all sizes that must stay untouched while something else is tried. */
#define HERD 96
#define SMALL_HERD 91 /* without the blocks above 200 KB */
struct herd {
    unsigned char *blocks[HERD];
    size_t size;
    uint64_t tag;
};
static inline size_t herd_size(size_t i) {
    return i < 64 ? i * 9 : i < 90 ? (i - 63) * 1237 : (size_t)(i - 89) * 200001;
}
static inline void herd_make_of(struct herd *herd, size_t size, uint64_t tag) {
    herd->size = size;
    herd->tag = tag;
    for (size_t i = 0; i < size; i++) {
        herd->blocks[i] = (unsigned char *)malloc(herd_size(i));
        CHECK(herd->blocks[i], "malloc(%zu) for the herd: %m", herd_size(i));
        check_aligned(herd->blocks[i], 16, herd_size(i), "malloc");
        fill(herd->blocks[i], herd_size(i), tag + i);
    }
}
static inline void herd_make(struct herd *herd, uint64_t tag) { herd_make_of(herd, HERD, tag); }
static inline void herd_free(struct herd *herd, const char *after) {
    for (size_t i = 0; i < herd->size; i++) verify(herd->blocks[i], herd_size(i), herd->tag + i, after);
    for (size_t i = 0; i < herd->size; i++) {
        verify(herd->blocks[i], herd_size(i), herd->tag + i, after);
        free(herd->blocks[i]);
    }
}
/* Every class once, with its content checked: the heap works. */
static inline void workout(uint64_t tag, const char *after) {
    struct herd herd;
    herd_make(&herd, tag);
    herd_free(&herd, after);
}

/* Resident bytes of this process, read without stdio. */
static inline size_t resident(void) {
    char text[128] = {0};
    int file = open("/proc/self/statm", O_RDONLY);
    CHECK(file >= 0 && read(file, text, sizeof text - 1) > 0, "/proc/self/statm: %m");
    close(file);
    size_t total, pages;
    CHECK(sscanf(text, "%zu %zu", &total, &pages) == 2, "statm reads \"%s\"", text);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* A symbol of the contract: always there under our library, perhaps absent from this glibc. */
static inline void *symbol(const char *name) {
    void *address = dlsym(RTLD_DEFAULT, name);
    CHECK(address || !preloaded(), "%s is not exported", name);
    return address;
}
#define HAVE(type, pointer, name)                              \
    __typeof__(type) pointer = (__typeof__(type))symbol(name); \
    if (!pointer) return

/* In an arm with our library, malloc must resolve into it: otherwise a test passes vacuously. */
static inline void prove_who_is_in_charge(void) {
    void *marker = dlsym(RTLD_DEFAULT, "pymalloc_is_in_charge");
    if (!preloaded()) {
        CHECK(!marker, "TEST_ARM asks for glibc but our library is loaded");
        return;
    }
    Dl_info of_malloc, of_marker;
    CHECK(marker, "our library is not loaded: no symbol pymalloc_is_in_charge");
    CHECK(dladdr(dlsym(RTLD_DEFAULT, "malloc"), &of_malloc) && dladdr(marker, &of_marker), "dladdr fails");
    CHECK(of_malloc.dli_fbase == of_marker.dli_fbase, "malloc belongs to %s, not to %s", of_malloc.dli_fname,
          of_marker.dli_fname);
}

#endif
