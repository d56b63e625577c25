/* Threads that allocate, check and free until told to stop, and hand blocks around on the way. */
#ifndef CHURN_H
#define CHURN_H

#include "check.h"
#include <stdatomic.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

struct parcel {
    size_t size;
    uint64_t tag;
    unsigned char content[];
};
#define SHARED 256
static struct parcel *_Atomic shared[SHARED];
static atomic_int stop_churning;
static atomic_size_t turns;

static inline size_t churn_size(uint64_t r) {
    return r % 100 < 80 ? r % 513 : r % 1000 < 995 ? r % 5000 : r % 200000;
}
static inline struct parcel *parcel_make(uint64_t *state) {
    size_t size = churn_size(next_random(state));
    struct parcel *parcel = (struct parcel *)malloc(sizeof *parcel + size);
    CHECK(parcel, "malloc(%zu): %m", sizeof *parcel + size);
    parcel->size = size, parcel->tag = *state;
    fill(parcel->content, size, parcel->tag);
    return parcel;
}
static inline void parcel_free(struct parcel *parcel, const char *what) {
    if (parcel) verify(parcel->content, parcel->size, parcel->tag, what);
    free(parcel);
}
static inline void churn_once(uint64_t *state) {
    struct parcel *mine = parcel_make(state);
    parcel_free(atomic_exchange(&shared[next_random(state) % SHARED], mine), "churn");
    atomic_fetch_add_explicit(&turns, 1, memory_order_relaxed);
}
/* Bursts with a breath between them: two cores must also get through what the case itself does. */
static inline void *churn(void *seed) {
    uint64_t state = (uintptr_t)seed;
    struct timespec breath = {0, 1500000};
    while (!atomic_load_explicit(&stop_churning, memory_order_relaxed)) {
        for (int i = 0; i < 100; i++) churn_once(&state);
        nanosleep(&breath, NULL);
    }
    return NULL;
}
/* Everything the threads of this process or of its parent have shared. */
static inline void free_all_shared(const char *what) {
    for (int i = 0; i < SHARED; i++) parcel_free(atomic_exchange(&shared[i], NULL), what);
}
static inline void start_churn(pthread_t *threads, size_t n) {
    atomic_store(&stop_churning, 0);
    for (size_t i = 0; i < n; i++) CHECK(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)) == 0, "pthread_create");
    while (atomic_load(&turns) < 100 * n) sched_yield();
}
static inline void end_churn(pthread_t *threads, size_t n) {
    atomic_store(&stop_churning, 1);
    for (size_t i = 0; i < n; i++) pthread_join(threads[i], NULL);
    free_all_shared("the end");
}

/* The number in the environment, to make a short test a long one. */
static inline size_t how_many(const char *variable, size_t usual) {
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 0) : usual;
}
static inline void wait_for(pid_t child, const char *what) {
    int status = 0;
    CHECK(child > 0, "%s: %m", what);
    CHECK(waitpid(child, &status, 0) == child, "%s: waitpid: %m", what);
    CHECK(status == 0, "%s: the child ended with status %#x", what, (unsigned)status);
}
static inline double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
