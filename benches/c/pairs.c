// What do malloc and free cost when every thread keeps to itself, a few blocks at a time?
#include "common.h"

enum { LIVE = 16 };
static long operations;

static void *work(void *argument) {
    uint64_t state = seed((uintptr_t)argument);
    char *live[LIVE] = {0};
    for (long i = 0; i < operations; i++) {
        free(live[i % LIVE]);
        live[i % LIVE] = block_of(request(&state));
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
