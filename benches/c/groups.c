// What do groups of blocks cost that are made together and freed together: oldest first, newest first, every second?
#include "common.h"

enum { GROUPS = 8, GROUP = 1000 };
static long operations;

static void free_in_some_order(char **group, long turn) {
    switch (turn % 3) {
    case 0:
        for (int i = 0; i < GROUP; i++)
            free(group[i]);
        return;
    case 1:
        for (int i = GROUP; i-- > 0;)
            free(group[i]);
        return;
    default:
        for (int odd = 0; odd < 2; odd++)
            for (int i = odd; i < GROUP; i += 2)
                free(group[i]);
    }
}

static void *work(void *argument) {
    static __thread char *groups[GROUPS][GROUP];
    uint64_t state = seed((uintptr_t)argument);
    for (long n = 0; n < operations / GROUP; n++) {
        char **group = groups[n % GROUPS];
        free_in_some_order(group, n);
        for (int i = 0; i < GROUP; i++)
            group[i] = block_of(request(&state));
    }
    for (int k = 0; k < GROUPS; k++)
        free_in_some_order(groups[k], k);
    return NULL;
}

int main(int argc, char **argv) {
    long threads;
    arguments(argc, argv, &threads, &operations);
    run_in_threads(threads, work);
    return 0;
}
