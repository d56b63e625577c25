/* Threads that make, resize and free each other's blocks: exchange THREADS ROUNDS [MS]. Threads are born and end all the
 * time, and few addresses serve many of them, so that most blocks are made where another thread's was freed. After that
 * many milliseconds the process exits while they go on. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLACES = 48, LIVES = 4 };

static _Atomic(char *) places[PLACES];
static int rounds;

static uint32_t next(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static void *life(void *seed) {
    uint64_t state = (uintptr_t)seed * 0x9e3779b97f4a7c15u;
    for (int round = 0; round < rounds; round++) {
        /* So that threads meet, however few processors there are. */
        if (round % 8 == 0) sched_yield();
        _Atomic(char *) *place = &places[next(&state) % PLACES];
        /* Small, medium and, seldom, huge. */
        uint32_t kind = next(&state) % 1000;
        size_t size = kind < 900 ? 1 + next(&state) % 128 : kind < 998 ? 513 + next(&state) % 8000 : 400000;
        char *mine = malloc(size);
        if (!mine) abort();
        mine[0] = 1;
        char *other = atomic_exchange_explicit(place, mine, memory_order_acq_rel);
        if (other && next(&state) % 4 == 0) {
            other = realloc(other, 1 + next(&state) % 256);
            other = atomic_exchange_explicit(place, other, memory_order_acq_rel);
        }
        free(other);
    }
    return 0;
}

static void *lives(void *seed) {
    for (uintptr_t n = 0; n < LIVES; n++) {
        pthread_t thread;
        if (pthread_create(&thread, 0, life, (void *)((uintptr_t)seed * LIVES + n + 1))) abort();
        life((void *)((uintptr_t)seed * LIVES + n + 1000));
        pthread_join(thread, 0);
    }
    return 0;
}

int main(int n_words, char **words) {
    int n = n_words > 1 ? atoi(words[1]) : 4;
    rounds = n_words > 2 ? atoi(words[2]) : 1000;
    pthread_t threads[64];
    for (int i = 0; i < n; i++)
        if (pthread_create(&threads[i], 0, lives, (void *)(uintptr_t)(i + 1))) abort();
    if (n_words > 3) {
        usleep(1000 * (useconds_t)atoi(words[3]));
        puts("left");
        exit(0);
    }
    for (int i = 0; i < n; i++) pthread_join(threads[i], 0);
    for (int i = 0; i < PLACES; i++) free(atomic_exchange(&places[i], 0));
    puts("exchanged");
}
