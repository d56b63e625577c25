// What does a server's pattern cost: random replacement in live sets that change hands between threads?
// After Larson and Krishnan, "Memory allocation for long-running server applications" (1998).
#include "common.h"

enum { LIVE = 5000, TURN = 50000 };

struct set {
    uint64_t state;
    char *live[LIVE];
};

static void *turn(void *argument) {
    struct set *set = argument;
    for (int i = 0; i < TURN; i++) {
        size_t at = next_random(&set->state) % LIVE;
        free(set->live[at]);
        set->live[at] = block_of(request(&set->state));
    }
    return NULL;
}

int main(int argc, char **argv) {
    long threads, operations;
    pthread_t started[64];
    static struct set sets[64];
    arguments(argc, argv, &threads, &operations);
    for (long i = 0; i < threads; i++)
        sets[i].state = seed(i + 1);
    for (long n = 0; n < operations / TURN; n++) {
        for (long i = 0; i < threads; i++)
            start(&started[i], turn, &sets[(i + n) % threads]);
        for (long i = 0; i < threads; i++)
            pthread_join(started[i], NULL);
    }
    for (long i = 0; i < threads; i++)
        for (int at = 0; at < LIVE; at++)
            free(sets[i].live[at]);
    return 0;
}
