/* What calloc promises of content, and what every call promises of errno. */
#include "check.h"

static void calloc_is_zero(size_t n, const char *what) {
    unsigned char *p = (unsigned char *)calloc(n % 5 ? 1 : n, n % 5 ? n : 1);
    CHECK(p, "calloc(%zu): %m", n);
    check_aligned(p, 16, n, "calloc");
    check_zero(p, n, what);
    memset(p, 0xff, malloc_usable_size(p));
    free(p);
}

CASE(calloc_is_zero_fresh_and_recycled) {
    for (size_t n = 1; n < 5 * MIB; n += n < 1100 ? 1 : n / 5 + 1) {
        calloc_is_zero(n, "fresh calloc");
        void *dirty[16];
        for (int i = 0; i < 16; i++) {
            dirty[i] = malloc(n);
            if (n < 64 * KIB || i < 2) memset(dirty[i], 0xff, malloc_usable_size(dirty[i]));
        }
        for (int i = 0; i < 16; i++) free(dirty[i]);
        for (int i = 0; i < 3; i++) calloc_is_zero(n, "recycled calloc");
    }
}

CASE(calloc_is_zero_after_a_trim) {
    static void *dirty[40000];
    const size_t sizes[] = {16, 48, 512, 528, 1000, 4096, 5000, 32 * KIB, 100 * KIB, 300 * KIB, 2 * MIB};
    for (size_t s = 0; s < LENGTH(sizes); s++) {
        size_t n = sizes[s], count = 12 * MIB / n < LENGTH(dirty) ? 12 * MIB / n : LENGTH(dirty);
        for (size_t i = 0; i < count; i++) {
            dirty[i] = malloc(n);
            CHECK(dirty[i], "malloc(%zu): %m", n);
            memset(dirty[i], 0xff, n);
        }
        for (size_t i = 0; i < count; i++) free(dirty[i]);
        malloc_trim(0);
        for (size_t i = 0; i < count; i++) {
            dirty[i] = calloc(1, n);
            check_zero(dirty[i], n, "calloc after malloc_trim");
        }
        for (size_t i = 0; i < count; i++) free(dirty[i]);
    }
}

CASE(calloc_is_zero_where_a_block_grew_and_shrank) {
    for (size_t n = 24; n < 3 * MIB; n += n / 2) {
        char *p = (char *)malloc(n);
        memset(p, 0xff, n);
        p = (char *)realloc(p, 3 * n);
        memset(p, 0xff, 3 * n);
        p = (char *)realloc(p, n / 2);
        calloc_is_zero(2 * n, "calloc after a shrink");
        calloc_is_zero(n, "calloc after a shrink");
        free(p);
        calloc_is_zero(3 * n, "calloc after a grown block");
    }
}

#define KEEPS_ERRNO(what, size)                                                             \
    do {                                                                                    \
        CHECK(errno == 77, "%s of %zu bytes sets errno to %d", what, (size_t)(size), errno); \
        errno = 77;                                                                         \
    } while (0)

static void errno_survives(size_t n) {
    errno = 77;
    void *p = malloc(n);
    KEEPS_ERRNO("malloc", n);
    p = realloc(p, n + n / 2 + 1);
    KEEPS_ERRNO("realloc that grows", n);
    p = realloc(p, n / 3 + 1);
    KEEPS_ERRNO("realloc that shrinks", n);
    free(p);
    KEEPS_ERRNO("free", n);
    p = calloc(n, 1);
    KEEPS_ERRNO("calloc", n);
    p = realloc(hide_pointer(p), 0);
    KEEPS_ERRNO("realloc to zero", n);
    free(p);
    p = memalign(256, n);
    KEEPS_ERRNO("memalign", n);
    malloc_usable_size(p);
    KEEPS_ERRNO("malloc_usable_size", n);
    free(p);
    KEEPS_ERRNO("free of an aligned block", n);
    CHECK(posix_memalign(&p, 4096, n) == 0, "posix_memalign");
    KEEPS_ERRNO("posix_memalign", n);
    free(p);
    KEEPS_ERRNO("free of a page-aligned block", n);
    p = aligned_alloc(64, n);
    free(p);
    KEEPS_ERRNO("aligned_alloc and free", n);
}

CASE(success_and_free_leave_errno_alone) {
    for (size_t n = 0; n < 20 * MIB; n += n < 600 ? 7 : n / 3) errno_survives(n);
    void *blocks[600];
    for (size_t n = 100; n <= MIB; n *= 10) {
        for (size_t i = 0; i < 600; i++) {
            blocks[i] = malloc(n);
            memset(blocks[i], 1, n < 4096 ? n : 4096);
        }
        errno = 77;
        for (size_t i = 0; i < 600; i++) free(blocks[i]);
        KEEPS_ERRNO("free of 600 blocks", n);
        malloc_trim(0);
        KEEPS_ERRNO("malloc_trim after blocks", n);
    }
}

CASE(sized_frees_leave_errno_alone) {
    HAVE(void (*)(void *, size_t), free_sized_, "free_sized");
    HAVE(void (*)(void *, size_t, size_t), free_aligned_sized_, "free_aligned_sized");
    for (size_t n = 1; n < 20 * MIB; n += n < 600 ? 1 : n / 3) {
        void *p = malloc(n), *q = aligned_alloc(64, n), *r = calloc(1, n);
        errno = 77;
        free_sized_(p, n);
        KEEPS_ERRNO("free_sized", n);
        free_aligned_sized_(q, 64, n);
        KEEPS_ERRNO("free_aligned_sized", n);
        free_sized_(r, n);
        KEEPS_ERRNO("free_sized of a calloc", n);
    }
    workout(1, "sized frees");
}

CASE(a_failed_call_says_enomem_and_nothing_more) {
    for (int i = 0; i < 100; i++) {
        errno = 0;
        CHECK(!malloc(hide(SIZE_MAX / 2 + 7)) && errno == ENOMEM, "malloc fails with errno %d", errno);
        errno = 77;
        free(malloc(100));
        CHECK(errno == 77, "a malloc after a failure sets errno to %d", errno);
    }
}
