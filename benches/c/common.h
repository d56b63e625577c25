// What the micro-benchmarks share: arguments, random numbers, sizes as programs ask for them.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1DULL;
}

static inline uint64_t seed(uint64_t n) { return n * 0x9E3779B97F4A7C15ULL | 1; }

// Bytes: mostly small, now and then up to 2 KiB.
static inline size_t request(uint64_t *state) {
    uint64_t bits = next_random(state);
    switch (bits & 15) {
    default: return 8 + (bits >> 32) % 57;
    case 10: case 11: case 12: case 13: return 64 + (bits >> 32) % 193;
    case 14: return 256 + (bits >> 32) % 257;
    case 15: return 512 + (bits >> 32) % 1537;
    }
}

static inline char *block_of(size_t size) {
    char *block = malloc(size);
    if (!block) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    block[0] = 1;
    return block;
}

// PROGRAM THREADS OPERATIONS
static inline void arguments(int argc, char **argv, long *threads, long *operations) {
    *threads = argc == 3 ? atol(argv[1]) : 0;
    *operations = argc == 3 ? atol(argv[2]) : 0;
    if (*threads < 1 || *threads > 64 || *operations < 1) {
        fprintf(stderr, "usage: %s THREADS OPERATIONS\n", argv[0]);
        exit(2);
    }
}

static inline void start(pthread_t *thread, void *(*work)(void *), void *argument) {
    if (pthread_create(thread, NULL, work, argument)) {
        fputs("no thread\n", stderr);
        exit(1);
    }
}

// Runs `work` in so many threads, with 1, 2 … as its argument, and waits for them.
static inline void run_in_threads(long threads, void *(*work)(void *)) {
    pthread_t started[64];
    for (long i = 0; i < threads; i++)
        start(&started[i], work, (void *)(i + 1));
    for (long i = 0; i < threads; i++)
        pthread_join(started[i], NULL);
}
