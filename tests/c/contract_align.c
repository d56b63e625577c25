/* Alignment: every size, every alignment, every call that aligns. */
#include "check.h"

CASE(every_block_is_aligned_to_16) {
    void *live[64] = {0};
    for (size_t n = 0, i = 0; n < 10 * MIB; n += n < 4096 ? 1 : n / 31, i++) {
        void *p = i % 3 == 0 ? malloc(n) : i % 3 == 1 ? calloc(1, n) : realloc(malloc(n / 2), n + 1);
        CHECK(p, "a block of %zu bytes: %m", n);
        check_aligned(p, 16, n, "malloc, calloc or realloc");
        free(live[i % 64]);
        live[i % 64] = p;
    }
    for (size_t i = 0; i < 64; i++) free(live[i]);
}

CASE(posix_memalign_refuses_bad_alignments) {
    const size_t bad[] = {0, 1, 2, 3, 4, 5, 6, 7, 9, 12, 20, 24, 40, 48, 96, 100, 1000, 4095, 4097, 12288, SIZE_MAX, SIZE_MAX / 2, ((size_t)1 << 63) + 8};
    for (size_t i = 0; i < LENGTH(bad); i++) {
        void *p = (void *)bad;
        errno = 77;
        int answer = posix_memalign(&p, hide(bad[i]), 100);
        CHECK(answer == EINVAL, "posix_memalign with alignment %zu answers %d, not EINVAL", bad[i], answer);
        CHECK(p == (void *)bad, "posix_memalign fails but changes *memptr");
        CHECK(errno == 77, "posix_memalign sets errno to %d", errno);
    }
    void *p = NULL;
    errno = 77;
    CHECK(posix_memalign(&p, hide((size_t)1 << 63), 1) == ENOMEM && !p, "an alignment of 2^63");
    CHECK(!ours() || errno == 77, "posix_memalign sets errno to %d", errno);
}

CASE(posix_memalign_of_zero_bytes_is_freeable) {
    for (size_t align = 8; align <= 4 * MIB; align *= 2) {
        void *p = (void *)1, *q = (void *)1;
        CHECK(posix_memalign(&p, align, 0) == 0 && posix_memalign(&q, align, 0) == 0, "posix_memalign(%zu, 0)", align);
        CHECK(p != (void *)1 && (!p || p != q), "posix_memalign(%zu, 0) gives %p twice", align, p);
        check_aligned(p, align, 0, "posix_memalign");
        free(p), free(q);
    }
}

CASE(memalign_rounds_an_odd_alignment_up) {
    const size_t odd[] = {0, 1, 3, 5, 15, 17, 24, 33, 100, 1000, 4097, 70000, 1048577};
    for (size_t i = 0; i < LENGTH(odd); i++) {
        size_t up = 16;
        while (up < odd[i]) up *= 2;
        for (size_t n = 1; n < 100000; n = n * 5 + 3) {
            void *p = memalign(hide(odd[i]), n);
            CHECK(p, "memalign(%zu, %zu): %m", odd[i], n);
            check_aligned(p, up, n, "memalign with an odd alignment");
            fill(p, n, n), verify(p, n, n, "memalign"), free(p);
            errno = 0; /* since glibc 2.38 aligned_alloc refuses what memalign rounds */
            p = aligned_alloc(hide(odd[i]), n);
            CHECK(p || errno == EINVAL, "aligned_alloc(%zu, %zu): errno %d", odd[i], n, errno);
            if (p) check_aligned(p, up, n, "aligned_alloc with an odd alignment");
            free(p);
        }
    }
}

#define RING 24
struct ring {
    struct {
        void *block;
        size_t size;
        uint64_t tag;
    } slots[RING];
    size_t next;
};
/* Keeps the last RING blocks alive: a block that overlaps a live one spoils its pattern. */
static void ring_push(struct ring *ring, void *block, size_t size) {
    size_t at = ring->next++ % RING;
    if (ring->slots[at].block) {
        verify(ring->slots[at].block, ring->slots[at].size, ring->slots[at].tag, "later aligned blocks");
        free(ring->slots[at].block);
    }
    ring->slots[at].block = block;
    ring->slots[at].size = size;
    ring->slots[at].tag = ring->next;
    if (block) fill(block, size, ring->next);
}

static void aligned_by_every_call(struct ring *ring, size_t size, size_t align) {
    for (int call = 0; call < 3; call++) {
        void *p = NULL;
        const char *name = call == 0 ? "memalign" : call == 1 ? "aligned_alloc" : "posix_memalign";
        if (call == 0) p = memalign(align, size);
        if (call == 1) p = aligned_alloc(align, size);
        if (call == 2 && align >= sizeof(void *)) CHECK(posix_memalign(&p, align, size) == 0, "posix_memalign(%zu, %zu)", align, size);
        if (call == 2 && align < sizeof(void *)) continue;
        CHECK(p, "%s(%zu, %zu): %m", name, align, size);
        check_aligned(p, align < 16 ? 16 : align, size, name);
        size_t usable = malloc_usable_size(p);
        CHECK(usable >= size, "%s(%zu, %zu): usable size %zu", name, align, size, usable);
        ring_push(ring, p, size < 2048 ? usable : size);
    }
}

CASE(every_size_at_every_alignment) {
    static struct ring ring;
    for (size_t align = 1; align <= 4 * MIB; align *= 2) {
        for (size_t size = 0; size <= 4096; size += align < 4096 ? 13 : 251) aligned_by_every_call(&ring, size, align);
        for (size_t size = 4096; size <= 8 * MIB; size *= 2)
            for (size_t k = 0; k < 3; k++) aligned_by_every_call(&ring, size + k - 1, align);
    }
    for (int i = 0; i < RING; i++) ring_push(&ring, NULL, 0);
}

CASE(alignments_beyond_an_arena_and_an_extent) {
    for (size_t align = 8 * MIB; align <= 1024 * MIB; align *= 2) {
        void *p = memalign(align, 100), *q = memalign(align, 3 * MIB);
        CHECK(p && q, "memalign(%zu): %m", align);
        check_aligned(p, align, 100, "memalign");
        check_aligned(q, align, 3 * MIB, "memalign");
        fill(p, 100, 1), fill(q, 3 * MIB, 2);
        verify(p, 100, 1, "memalign"), verify(q, 3 * MIB, 2, "memalign");
        free(p), free(q);
    }
}

CASE(aligned_and_plain_blocks_recycle_each_other) {
    void *live[256] = {0};
    size_t sizes[256];
    uint64_t state = 42;
    for (int i = 0; i < 60000; i++) {
        size_t at = next_random(&state) % 256;
        if (live[at]) verify(live[at], sizes[at], at, "mixed alignments"), free(live[at]);
        size_t align = (size_t)8 << (next_random(&state) % (i % 100 ? 6 : 14));
        sizes[at] = next_random(&state) % (i % 50 ? 700 : 70000);
        live[at] = i % 2 ? malloc(sizes[at]) : memalign(align, sizes[at]);
        CHECK(live[at], "a block of %zu bytes at %zu: %m", sizes[at], align);
        if (i % 2 == 0) check_aligned(live[at], align, sizes[at], "memalign");
        fill(live[at], sizes[at], at);
    }
    for (int i = 0; i < 256; i++) free(live[i]);
}

CASE(sized_frees_take_what_they_were_promised) {
    HAVE(void (*)(void *, size_t), free_sized_, "free_sized");
    HAVE(void (*)(void *, size_t, size_t), free_aligned_sized_, "free_aligned_sized");
    HAVE(size_t(*)(size_t), good, "malloc_good_size");
    for (int round = 0; round < 3; round++)
        for (size_t n = 0; n < 3 * MIB; n += n < 1100 ? 1 : n / 5) {
            char *p = (char *)malloc(n);
            fill(p, n, n);
            free_sized_(p, n);
            free_sized_(calloc(1, n), good(n));
            for (size_t align = 16; align <= 65536; align *= 8) free_aligned_sized_(aligned_alloc(align, n), align, n);
            p = (char *)realloc(malloc(n / 2), n + 1);
            free_sized_(p, n + 1);
        }
    workout(8, "sized frees");
}
