// What do many live threads with a few small blocks each keep resident?
#include "common.h"

static pthread_barrier_t all_alive;
static long operations;

static void *live(void *argument) {
    char *blocks[64];
    (void)argument;
    for (long i = 0; i < operations; i++)
        blocks[i] = block_of(16 + 16 * (i * 7 % 24));
    pthread_barrier_wait(&all_alive);
    for (long i = 0; i < operations; i++)
        free(blocks[i]);
    return NULL;
}

// THREADS BLOCKS
int main(int argc, char **argv) {
    long threads = argc == 3 ? atol(argv[1]) : 0;
    operations = argc == 3 ? atol(argv[2]) : 0;
    if (threads < 1 || threads > 10000 || operations < 1 || operations > 64) {
        fprintf(stderr, "usage: %s THREADS BLOCKS\n", argv[0]);
        return 2;
    }
    pthread_t *started = malloc(threads * sizeof *started);
    pthread_attr_t small_stack;
    pthread_attr_init(&small_stack);
    pthread_attr_setstacksize(&small_stack, 64 << 10);
    pthread_barrier_init(&all_alive, NULL, threads);
    for (long i = 0; i < threads; i++)
        if (pthread_create(&started[i], &small_stack, live, NULL)) {
            fputs("no thread\n", stderr);
            return 1;
        }
    for (long i = 0; i < threads; i++)
        pthread_join(started[i], NULL);
    free(started);
    return 0;
}
