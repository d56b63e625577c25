// What do blocks of 4 KiB to 1 MiB of every length cost, each written to once a page, of which the oldest goes?
#include "common.h"

enum { LIVE = 40, PAGE = 4096 };
static long operations;

// Bytes: each doubling as likely as any other.
static size_t length(uint64_t *state) {
    uint64_t bits = next_random(state);
    size_t base = (size_t)PAGE << (bits >> 60) % 8;
    return base + (bits & (base - 1));
}

static void *work(void *argument) {
    uint64_t state = seed((uintptr_t)argument);
    char *live[LIVE] = {0};
    for (long n = 0; n < operations; n++) {
        size_t bytes = length(&state);
        free(live[n % LIVE]);
        live[n % LIVE] = block_of(bytes);
        for (size_t at = PAGE; at < bytes; at += PAGE)
            live[n % LIVE][at] = 1;
    }
    for (int i = 0; i < LIVE; i++)
        free(live[i]);
    return NULL;
}

int main(int argc, char **argv) {
    long threads;
    arguments(argc, argv, &threads, &operations);
    run_in_threads(threads, work);
    return 0;
}
