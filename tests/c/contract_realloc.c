/* realloc: as glibc at the edges, and content kept everywhere. */
#include "check.h"

CASE(realloc_to_zero_frees_as_glibc) {
    size_t before = resident();
    for (int i = 0; i < 30000; i++) {
        char *p = (char *)malloc(8 * KIB);
        memset(p, i, 8 * KIB);
        p = (char *)realloc(hide_pointer(p), hide(0));
        CHECK(!p, "realloc(p, 0) is %p, not null", (void *)p);
    }
    CHECK(resident() < before + 64 * MIB, "realloc(p, 0) does not free: %zu MiB more", (resident() - before) / MIB);
    for (size_t n = 0; n < 4 * MIB; n = n * 3 + 1) CHECK(!realloc(malloc(n), hide(0)), "realloc(malloc(%zu), 0)", n);
    void *p = realloc(NULL, 0);
    CHECK(p, "realloc(NULL, 0) is null");
    free(p);
}

CASE(a_failed_realloc_leaves_the_block) {
    for (size_t n = 1; n < 8 * MIB; n = n * 2 + 3) {
        char *p = (char *)malloc(n);
        fill(p, n, n);
        errno = 0;
        CHECK(!realloc(p, hide((size_t)PTRDIFF_MAX + 1)) && errno == ENOMEM, "realloc past PTRDIFF_MAX: errno %d", errno);
        errno = 0;
        CHECK(!realloc(p, hide((size_t)1 << 50)) && errno == ENOMEM, "realloc to 2^50: errno %d", errno);
        verify(p, n, n, "failed reallocs");
        CHECK(malloc_usable_size(p) >= n, "usable size after a failed realloc");
        free(p);
    }
}

static char *resized(char *p, size_t from, size_t to, uint64_t tag, const char *what) {
    char *q = (char *)realloc(p, to);
    CHECK(q, "%s: realloc from %zu to %zu: %m", what, from, to);
    check_aligned(q, 16, to, what);
    CHECK(malloc_usable_size(q) >= to, "%s: usable size %zu after realloc to %zu", what, malloc_usable_size(q), to);
    verify_prefix(q, from < to ? from : to, from, tag, what);
    fill(q, to, tag);
    return q;
}

CASE(realloc_keeps_the_content_for_every_pair_of_classes) {
    for (size_t from = 0; from <= 1400; from += 17)
        for (size_t to = 1; to <= 1400; to += 23) {
            char *p = (char *)malloc(from);
            fill(p, from, from);
            free(resized(p, from, to, from, "realloc"));
        }
    for (size_t from = 700; from < 6 * MIB; from += from / 2)
        for (size_t to = 1; to < 6 * MIB; to += to / 2 + 100) {
            char *p = (char *)malloc(from);
            fill(p, from, from);
            free(resized(p, from, to, from, "realloc"));
        }
}

CASE(growing_to_64_mib_keeps_the_content) {
    size_t size = 1;
    char *p = (char *)malloc(size);
    fill(p, size, 9);
    for (; size < 64 * MIB; size *= 2) p = resized(p, size, size * 2, 9, "doubling");
    for (; size > 1; size /= 2) p = resized(p, size, size / 2, 9, "halving");
    free(p);
    struct herd herd;
    herd_make(&herd, 10);
    p = (char *)malloc(size = MIB);
    fill(p, size, 10);
    for (; size < 64 * MIB; size += 3 * MIB) p = resized(p, size, size + 3 * MIB, 10, "growing by 3 MiB");
    free(p);
    herd_free(&herd, "growing a large block");
}

CASE(growing_step_by_step_beside_others_keeps_the_content) {
    enum { SOME = 7 };
    char *p[SOME];
    size_t size[SOME] = {0};
    for (int i = 0; i < SOME; i++) p[i] = NULL;
    for (size_t step = 1; step < 400 * KIB; step += step / 6 + 1)
        for (int i = 0; i < SOME; i++) {
            size_t to = step + (size_t)i * 11;
            p[i] = resized(p[i], size[i], to, (uint64_t)i, "stepwise growth");
            size[i] = to;
        }
    for (int i = 0; i < SOME; i++) verify(p[i], size[i], (uint64_t)i, "stepwise growth"), free(p[i]);
}

CASE(realloc_of_an_over_aligned_block_keeps_the_content) {
    for (size_t align = 32; align <= 4 * MIB; align *= 4)
        for (size_t n = 1; n < 3 * MIB; n = n * 3 + 5) {
            const size_t to[] = {1, n / 2 + 1, n, n + 1, n + align, 2 * n + 100, 4096};
            for (size_t i = 0; i < LENGTH(to); i++) {
                char *p = (char *)memalign(align, n);
                CHECK(p, "memalign(%zu, %zu): %m", align, n);
                check_aligned(p, align, n, "memalign");
                fill(p, n, n);
                free(resized(p, n, to[i], n, "realloc of an aligned block"));
            }
        }
}

CASE(a_shrunken_block_gives_its_memory_back) {
    char *p = (char *)malloc(64 * MIB);
    memset(p, 7, 64 * MIB);
    char *wall = (char *)malloc(64 * MIB);
    size_t full = resident();
    p = (char *)realloc(p, 4 * KIB);
    CHECK(p && p[0] == 7 && p[4095] == 7, "a shrink loses content");
    malloc_trim(0);
    CHECK(resident() + 48 * MIB < full, "a shrink from 64 MiB to 4 KiB frees %zd MiB", (ssize_t)(full - resident()) / (ssize_t)MIB);
    free(wall);
    free(p);
}

CASE(reallocarray_is_realloc_of_the_product) {
    int *p = NULL;
    for (size_t n = 1; n < 300000; n = n * 2 + 1) {
        p = (int *)reallocarray(p, n, sizeof *p);
        CHECK(p, "reallocarray(%zu): %m", n);
        for (size_t i = n / 2; i < n; i++) p[i] = (int)i;
        for (size_t i = 0; i < n; i++) CHECK(p[i] == (int)i, "reallocarray to %zu loses element %zu", n, i);
    }
    free(p);
}
