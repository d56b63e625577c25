/* Sizes: zero, impossible, overflowing; what malloc_usable_size and malloc_good_size say of them. */
#include "check.h"

CASE(malloc_of_zero_is_unique_and_freeable) {
    void *zero[100], *one[100];
    for (size_t i = 0; i < 100; i++) {
        zero[i] = i % 4 == 0 ? malloc(hide(0)) : i % 4 == 1 ? calloc(0, 8) : i % 4 == 2 ? realloc(NULL, 0) : calloc(8, 0);
        one[i] = malloc(1);
        CHECK(zero[i] && one[i], "a block of zero bytes: null (%zu)", i);
        check_aligned(zero[i], 16, 0, "malloc");
        for (size_t j = 0; j < i; j++)
            CHECK(zero[i] != zero[j] && zero[i] != one[j], "malloc(0) gave a live block twice: %p", zero[i]);
    }
    for (size_t i = 0; i < 100; i++) free(zero[i]), free(one[i]);
    HAVE(void *(*)(void *, size_t, size_t), reallocarray_, "reallocarray");
    void *p = reallocarray_(NULL, 0, 7);
    CHECK(p, "reallocarray(NULL, 0, 7) is null");
    free(p);
}

CASE(free_of_null_does_nothing) {
    free(NULL);
    errno = 77;
    free(NULL);
    CHECK(errno == 77, "free(NULL) sets errno to %d", errno);
    HAVE(void (*)(void *, size_t), free_sized_, "free_sized");
    free_sized_(NULL, 0);
    free_sized_(NULL, 100);
    HAVE(void (*)(void *, size_t, size_t), free_aligned_sized_, "free_aligned_sized");
    free_aligned_sized_(NULL, 64, 128);
    HAVE(void (*)(void *), cfree_, "cfree");
    cfree_(NULL);
}

/* What every allocating call makes of a size that cannot be: the n-th of them. */
static void *impossible(int call, size_t n, const char **name, void *old) {
    switch (call) {
    case 0: return *name = "malloc", malloc(n);
    case 1: return *name = "calloc(1, n)", calloc(1, n);
    case 2: return *name = "calloc(n, 1)", calloc(n, 1);
    case 3: return *name = "realloc(NULL, n)", realloc(NULL, n);
    case 4: return *name = "realloc(p, n)", realloc(old, n);
    case 5: return *name = "memalign(16, n)", memalign(16, n);
    case 6: return *name = "memalign(64, n)", memalign(64, n);
    case 7: return *name = "memalign(1 MiB, n)", memalign(MIB, n);
    case 8: return *name = "aligned_alloc(32, n)", aligned_alloc(32, n);
    case 9: return *name = "valloc", valloc(n);
    case 10: return *name = "pvalloc", pvalloc(n);
    case 11: return *name = "reallocarray(p, n, 1)", reallocarray(old, n, 1);
    case 12: return *name = "reallocarray(p, 1, n)", reallocarray(old, 1, n);
    case 13: return *name = "reallocarray(NULL, n / 2 + 1, 2)", reallocarray(NULL, n / 2 + 1, 2);
    case 14: return *name = "calloc(n / 2 + 1, 2)", calloc(n / 2 + 1, 2);
    default: return NULL;
    }
}

static void refuses(size_t n) {
    unsigned char *old = (unsigned char *)malloc(100);
    fill(old, 100, n);
    const char *name = NULL;
    for (int call = 0; call < 15; call++) {
        errno = 0;
        void *p = impossible(call, hide(n), &name, old);
        CHECK(!p, "%s for n = %zu gives %p", name, n, p);
        CHECK(errno == ENOMEM, "%s for n = %zu: errno is %d, not ENOMEM", name, n, errno);
        verify(old, 100, n, name);
    }
    for (size_t align = 8; align <= 4 * MIB; align *= 2) {
        void *p = old;
        errno = 77;
        int answer = posix_memalign(&p, align, hide(n));
        CHECK(answer == ENOMEM, "posix_memalign(%zu, %zu) answers %d, not ENOMEM", align, n, answer);
        CHECK(p == old, "posix_memalign(%zu, %zu) fails but changes *memptr to %p", align, n, p);
        CHECK(!ours() || errno == 77, "posix_memalign(%zu, %zu) fails and sets errno to %d", align, n, errno);
    }
    free(old);
}

CASE(sizes_above_ptrdiff_max_are_refused_and_the_heap_stays_intact) {
    struct herd herd;
    herd_make(&herd, 1);
    for (size_t k = 0; k < 200; k++) {
        refuses(SIZE_MAX - k);
        refuses((size_t)PTRDIFF_MAX + 1 + k);
    }
    for (size_t bit = 0; bit < 40; bit++) {
        refuses(SIZE_MAX - ((size_t)1 << bit));
        refuses((size_t)PTRDIFF_MAX + ((size_t)1 << bit));
    }
    herd_free(&herd, "impossible sizes");
    workout(2, "impossible sizes");
}

CASE(sizes_beyond_the_address_space_are_refused) {
    struct herd herd;
    herd_make(&herd, 3);
    for (size_t n = (size_t)1 << 47; n < (size_t)1 << 62; n *= 2) refuses(n), refuses(n + 4097);
    for (size_t k = 0; k < 70000; k += 997) refuses((size_t)PTRDIFF_MAX - k);
    herd_free(&herd, "sizes beyond the address space");
    workout(4, "sizes beyond the address space");
}

CASE(products_that_overflow_are_refused) {
    const size_t half = (size_t)1 << 32;
    const size_t factors[][2] = {{half, half}, {SIZE_MAX, SIZE_MAX}, {SIZE_MAX, 2}, {SIZE_MAX / 2 + 1, 2}, {SIZE_MAX / 16 + 2, 16},
        {SIZE_MAX / 3 + 1, 3}, {half + 1, half - 1}, {half * 3, half / 2}, {half + 16, half}, {SIZE_MAX / 8 + 1, 8}};
    char *old = (char *)malloc(40);
    fill(old, 40, 5);
    for (size_t i = 0; i < LENGTH(factors); i++)
        for (int swap = 0; swap < 2; swap++) {
            size_t a = hide(factors[i][swap]), b = hide(factors[i][!swap]);
            errno = 0;
            CHECK(!calloc(a, b) && errno == ENOMEM, "calloc(%zu, %zu): not null with ENOMEM", a, b);
            errno = 0;
            CHECK(!reallocarray(NULL, a, b) && errno == ENOMEM, "reallocarray(NULL, %zu, %zu)", a, b);
            errno = 0;
            CHECK(!reallocarray(old, a, b) && errno == ENOMEM, "reallocarray(p, %zu, %zu)", a, b);
            verify(old, 40, 5, "an overflowing reallocarray");
        }
    free(old);
    workout(6, "overflowing products");
}

CASE(alignment_plus_size_does_not_wrap) {
    for (size_t shift = 4; shift < 64; shift++) {
        size_t align = (size_t)1 << shift;
        for (size_t k = 0; k < 3; k++) {
            size_t size = hide(SIZE_MAX - align + k);
            errno = 0;
            CHECK(!memalign(align, size) && (errno == ENOMEM || errno == EINVAL), "memalign(2^%zu, %zu) succeeds or leaves errno", shift, size);
            errno = 0;
            CHECK(!aligned_alloc(align, size) && (errno == ENOMEM || errno == EINVAL), "aligned_alloc(2^%zu, %zu)", shift, size);
            void *p = &align;
            CHECK(posix_memalign(&p, align, size) == ENOMEM && p == &align, "posix_memalign(2^%zu, %zu)", shift, size);
        }
    }
    size_t top = hide((size_t)1 << 63);
    CHECK(!memalign(top, 1), "an alignment of 2^63 is met");
    CHECK(!memalign(top + 1, 1), "an alignment of 2^63 + 1 is met");
    CHECK(!memalign(hide(SIZE_MAX), 1), "an alignment of SIZE_MAX is met");
    CHECK(!memalign((size_t)1 << 62, (size_t)1 << 62), "2^62 bytes at 2^62 are met");
    workout(7, "impossible alignments");
}

CASE(valloc_and_pvalloc_give_whole_pages) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t n = 0; n < 5 * page; n += 509) {
        void *p = valloc(n), *q = pvalloc(n);
        CHECK(p && q, "valloc or pvalloc(%zu): null", n);
        check_aligned(p, page, n, "valloc");
        check_aligned(q, page, n, "pvalloc");
        size_t whole = (n + page - 1) / page * page;
        CHECK(malloc_usable_size(q) >= whole, "pvalloc(%zu) has %zu usable bytes, not %zu", n, malloc_usable_size(q), whole);
        fill(p, n, n), fill(q, whole, n);
        verify(p, n, n, "pvalloc"), verify(q, whole, n, "pvalloc");
        free(p), free(q);
    }
    for (size_t k = 0; k < page; k += 63) {
        errno = 0;
        CHECK(!pvalloc(hide(SIZE_MAX - k)) && errno == ENOMEM, "pvalloc(SIZE_MAX - %zu)", k);
        errno = 0;
        CHECK(!valloc(hide(SIZE_MAX - k)) && errno == ENOMEM, "valloc(SIZE_MAX - %zu)", k);
    }
}

static void usable_is_sound(size_t n, size_t align) {
    unsigned char *p = (unsigned char *)(align ? memalign(align, n) : malloc(n));
    CHECK(p, "a block of %zu bytes: %m", n);
    size_t usable = malloc_usable_size(p);
    CHECK(usable >= n, "malloc_usable_size is %zu for a request of %zu", usable, n);
    fill(p, usable, n);
    void *neighbours[8];
    for (int i = 0; i < 8; i++) neighbours[i] = malloc(n < 4096 ? n : 64);
    for (int i = 0; i < 8; i++) memset(neighbours[i], 0xee, n < 4096 ? malloc_usable_size(neighbours[i]) : 64);
    CHECK(malloc_usable_size(p) == usable, "malloc_usable_size of a live block went from %zu to %zu", usable, malloc_usable_size(p));
    for (int i = 0; i < 8; i++) free(neighbours[i]);
    CHECK(malloc_usable_size(p) == usable, "malloc_usable_size of a live block went from %zu to %zu", usable, malloc_usable_size(p));
    verify(p, usable, n, "writes to neighbours");
    free(p);
}

CASE(usable_size_covers_the_request_and_is_stable_and_writable) {
    CHECK(malloc_usable_size(NULL) == 0, "malloc_usable_size(NULL) is %zu", malloc_usable_size(NULL));
    for (size_t n = 0; n <= 1100; n++) usable_is_sound(n, 0);
    for (size_t n = 1101; n < 9 * MIB; n += n / 9) usable_is_sound(n, 0);
    for (size_t align = 32; align <= 2 * MIB; align *= 4)
        for (size_t n = 1; n < 3 * MIB; n += n / 2 + 13) usable_is_sound(n, align);
}

CASE(good_size_says_what_a_block_will_hold) {
    HAVE(size_t(*)(size_t), good, "malloc_good_size");
    HAVE(size_t(*)(const void *), size_of, "malloc_size");
    CHECK(size_of(NULL) == 0, "malloc_size(NULL) is %zu", size_of(NULL));
    for (size_t n = 0, before = 0; n < 40 * MIB; n += n < 2000 ? 1 : n / 7) {
        size_t g = good(n);
        CHECK(g >= n && g >= before, "malloc_good_size(%zu) is %zu, before it %zu", n, g, before);
        void *p = malloc(n);
        CHECK(size_of(p) == malloc_usable_size(p), "malloc_size and malloc_usable_size differ for %zu", n);
        if (ours() && n && n <= 512)
            CHECK(size_of(p) == g, "malloc(%zu) holds %zu, malloc_good_size says %zu", n, size_of(p), g);
        free(p);
        if (ours()) CHECK(good(g) == g, "malloc_good_size(%zu) is %zu: not a fixed point", g, good(g));
        before = g;
    }
    (void)good(SIZE_MAX), (void)good(PTRDIFF_MAX), (void)good(SIZE_MAX - 4096);
}
