/* What the table of allocators in the README compares beside misuse: memory that runs out, and memory that comes
 * back when almost all of it is freed. */
#include "churn.h"
#include <sys/mman.h>
#include <sys/resource.h>

struct link {
    struct link *next;
    size_t size;
};

static size_t address_space(void) {
    char text[64] = {0};
    int file = open("/proc/self/statm", O_RDONLY);
    CHECK(read(file, text, sizeof text - 1) > 0, "statm: %m");
    close(file);
    return strtoull(text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* Blocks until there are no more; how many. Each names its end, so that two in one place are noticed. */
static size_t fill_up(struct link **list, size_t size) {
    size_t n = 0;
    errno = 0;
    for (struct link *block; (block = (struct link *)malloc(size)) != NULL; n++) {
        block->next = *list, block->size = size, *list = block;
        ((char *)block)[size - 1] = (char)n;
    }
    CHECK(errno == ENOMEM, "malloc(%zu) gives null and errno %d", size, errno);
    return n;
}
static void empty(struct link **list, size_t n) {
    while (*list) {
        struct link *block = *list;
        size_t size = block->size;
        CHECK(((char *)block)[size - 1] == (char)--n, "a block of %zu changed when memory ran out", size);
        *list = block->next;
        free(block);
    }
}

CASE(memory_runs_out) {
    struct rlimit limit = {0, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};
    static const size_t sizes[] = {24, 700, 20000, 300000, 3000000};
    limit.rlim_cur = address_space() + how_many("TRUST_MIB", 64) * MIB;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit: %m");
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        struct link *list = NULL;
        char *old = (char *)malloc(100);
        if (old) memset(old, 7, 100);
        size_t n = fill_up(&list, sizes[i]);
        /* Nobody gets more than there is, and who is refused keeps what he had. */
        CHECK(!malloc(hide(512 * MIB)) && !calloc(hide(1 << 20), hide(1 << 12)), "more than there is");
        if (old) CHECK(!realloc(old, hide(512 * MIB)) && old[0] == 7 && old[99] == 7, "a refused realloc");
        empty(&list, n);
        free(old);
        size_t again = fill_up(&list, sizes[i]);
        empty(&list, again);
        CHECK(again >= n / 2, "%zu blocks of %zu, and then %zu only", n, sizes[i], again);
    }
    CHECK(setrlimit(RLIMIT_AS, &none) == 0, "setrlimit: %m");
    workout(1, "when there is memory again");
}

#define BLOCKS 1000000
struct held {
    struct parcel *parcel;
    uint64_t order;
};
static int by_order(const void *a, const void *b) {
    uint64_t x = ((const struct held *)a)->order, y = ((const struct held *)b)->order;
    return x < y ? -1 : x > y;
}
static void rest(void) {
    struct timespec while_memory_returns = {1, 500000000};
    nanosleep(&while_memory_returns, NULL);
}

/* Prints KiB: at most, when all but every 1000th block is freed, a second and a half later, and when all are. */
CASE(all_but_every_1000th_is_freed) {
    struct held *held = (struct held *)mmap(NULL, BLOCKS * sizeof *held, PROT_READ | PROT_WRITE,
                                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    uint64_t state = 1;
    size_t live = 0;
    /* Blocks of all sizes up to a page, the small ones more often. */
    size_t base = resident();
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = (size_t)16 << next_random(&state) % 6;
        size += next_random(&state) % size;
        struct parcel *parcel = (struct parcel *)malloc(sizeof *parcel + size);
        parcel->size = size, parcel->tag = i;
        fill(parcel->content, size, i);
        held[i].parcel = parcel, held[i].order = next_random(&state);
    }
    size_t most = resident() - base;
    /* Freed in any order; which ones stay does not depend on it. */
    for (size_t i = 0; i < BLOCKS; i += 1000) held[i].order |= (uint64_t)1 << 63, live += held[i].parcel->size;
    for (size_t i = 0; i < BLOCKS; i++) held[i].order &= i % 1000 ? ~((uint64_t)1 << 63) : ~(uint64_t)0;
    qsort(held, BLOCKS, sizeof *held, by_order);
    size_t kept = BLOCKS / 1000, freed = BLOCKS - kept;
    for (size_t i = 0; i < freed; i++) parcel_free(held[i].parcel, "fragments");
    size_t now = resident() - base;
    rest();
    size_t later = resident() - base;
    for (size_t i = freed; i < BLOCKS; i++) parcel_free(held[i].parcel, "fragments");
    rest();
    say(1, "KiB %zu %zu %zu %zu %zu\n", most / KIB, now / KIB, later / KIB, (resident() - base) / KIB, live / KIB);
}
