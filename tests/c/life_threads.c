/* Threads that come and go: late destructors, many short ones, many live ones, exit among them. */
#include "churn.h"

#define KEYS 64
static pthread_key_t keys[KEYS];
static atomic_int rounds;

/* Each destructor frees its block, allocates others, and asks for another round while there is one. */
static void end_of_key(void *value) {
    struct { size_t key, round; } *mine = value, *next;
    size_t key = mine->key, round = mine->round;
    free(mine);
    atomic_fetch_add(&rounds, 1);
    uint64_t state = key * 100 + round;
    for (int i = 0; i < 5; i++) churn_once(&state);
    free(malloc(key * 37)), free(calloc(round, 3000));
    if (round == 3) return;
    next = malloc(sizeof *next + key * 10);
    next->key = key, next->round = round + 1;
    pthread_setspecific(keys[key], next);
}

static void *thread_with_keys(void *seed) {
    uint64_t state = (uintptr_t)seed;
    for (size_t key = 0; key < KEYS; key++) {
        size_t *value = malloc(2 * sizeof *value + next_random(&state) % 100);
        value[0] = key, value[1] = 0;
        pthread_setspecific(keys[key], value);
        churn_once(&state);
    }
    return NULL;
}

CASE(destructors_of_64_keys_allocate_in_all_rounds) {
    for (size_t i = 0; i < KEYS; i++) CHECK(pthread_key_create(&keys[i], end_of_key) == 0, "pthread_key_create");
    pthread_t threads[50];
    for (uintptr_t i = 0; i < 50; i++) CHECK(pthread_create(&threads[i], NULL, thread_with_keys, (void *)i) == 0, "pthread_create");
    for (int i = 0; i < 50; i++) pthread_join(threads[i], NULL);
    CHECK(atomic_load(&rounds) == 50 * KEYS * 4, "%d destructor calls, not %d", atomic_load(&rounds), 50 * KEYS * 4);
    free_all_shared("threads with keys");
    for (size_t i = 0; i < KEYS; i++) pthread_key_delete(keys[i]);
    workout(1, "threads with keys");
}

/* The first call of a thread may come from a destructor, after everything else has ended. */
static void only_free(void *block) {
    free(block);
    free(malloc(64));
}
static pthread_key_t only_key;
static void *never_allocates(void *block) {
    pthread_setspecific(only_key, block);
    return NULL;
}

CASE(a_thread_that_only_frees_and_only_at_its_end) {
    CHECK(pthread_key_create(&only_key, only_free) == 0, "pthread_key_create");
    for (size_t i = 0; i < 200; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, never_allocates, malloc(i * 50)) == 0, "pthread_create");
        pthread_join(thread, NULL);
    }
    pthread_key_delete(only_key);
    workout(2, "threads that only free");
}

static void *short_life(void *seed) {
    uint64_t state = (uintptr_t)seed;
    void *blocks[20];
    for (int i = 0; i < 20; i++) blocks[i] = malloc(next_random(&state) % 600);
    for (int i = 0; i < 19; i++) free(blocks[i]);
    churn_once(&state);
    return blocks[19];
}

CASE(short_threads_leave_nothing_behind) {
    size_t n = how_many("PYMALLOC_THREADS", 20000), early = 0;
    for (size_t i = 0; i < n; i += 10) {
        pthread_t threads[10];
        for (size_t t = 0; t < 10; t++) CHECK(pthread_create(&threads[t], NULL, short_life, (void *)(i + t)) == 0, "pthread_create");
        for (size_t t = 0; t < 10; t++) {
            void *last;
            pthread_join(threads[t], &last);
            free(last);
        }
        if (i == n / 5) early = resident();
    }
    CHECK(resident() < early + 16 * MIB, "%zu KiB more after %zu short threads", (resident() - early) / KIB, n);
    free_all_shared("short threads");
    workout(3, "short threads");
}

#define LIVE_MOST 2000
static size_t live_threads;
static pthread_barrier_t all_here;
static struct parcel *held[LIVE_MOST][20];

static void *live_beside_others(void *number) {
    size_t me = (uintptr_t)number, next = (me + 1) % live_threads;
    uint64_t state = me;
    for (int i = 0; i < 20; i++) held[me][i] = parcel_make(&state);
    pthread_barrier_wait(&all_here);
    for (int i = 0; i < 20; i++) parcel_free(held[next][i], "a neighbour's block");
    for (int i = 0; i < 20; i++) churn_once(&state);
    pthread_barrier_wait(&all_here);
    return NULL;
}

CASE(many_threads_live_at_once) {
    static pthread_t threads[LIVE_MOST];
    live_threads = how_many("PYMALLOC_LIVE_THREADS", 2000);
    CHECK(live_threads <= LIVE_MOST, "at most %d", LIVE_MOST);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 * KIB);
    pthread_barrier_init(&all_here, NULL, (unsigned)live_threads);
    for (size_t i = 0; i < live_threads; i++)
        CHECK(pthread_create(&threads[i], &small, live_beside_others, (void *)i) == 0, "pthread_create: thread %zu", i);
    for (size_t i = 0; i < live_threads; i++) pthread_join(threads[i], NULL);
    free_all_shared("many threads");
    workout(4, "many threads");
}

/* Blocks of threads that have ended are freed by others, and their memory comes back. */
static void *leave_blocks(void *list) {
    void **blocks = list;
    for (size_t i = 0; i < 20000; i++) memset(blocks[i] = malloc(400), 1, 400);
    return NULL;
}

CASE(memory_of_ended_threads_comes_back) {
    static void *lists[4][20000];
    size_t before = resident();
    for (int round = 0; round < 5; round++) {
        pthread_t threads[4];
        for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, leave_blocks, lists[i]) == 0, "pthread_create");
        for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
        for (int i = 0; i < 4; i++)
            for (size_t k = 0; k < 20000; k++) free(lists[i][k]);
    }
    malloc_trim(0);
    CHECK(resident() < before + 12 * MIB, "%zu KiB more after threads that ended", (resident() - before) / KIB);
}

/* The cases below end the process themselves, while others allocate. */
CASE(exit_while_others_allocate) {
    pthread_t threads[8];
    start_churn(threads, 8);
    say(1, "ok exit_while_others_allocate\n");
    exit(0);
}

static void *exits(void *unused) {
    workout(5, "a thread about to exit");
    say(1, "ok exit_from_a_thread\n");
    exit(unused != NULL);
}

CASE(exit_from_a_thread) {
    pthread_t threads[4], last;
    start_churn(threads, 4);
    CHECK(pthread_create(&last, NULL, exits, NULL) == 0, "pthread_create");
    for (uint64_t state = 1;;) churn_once(&state);
}

static void *outlives_main(void *unused) {
    struct timespec while_main_ends = {0, 20000000};
    nanosleep(&while_main_ends, NULL);
    workout(6, "a thread that outlives main");
    say(1, "ok main_ends_before_its_threads\n");
    return unused;
}

CASE(main_ends_before_its_threads) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, outlives_main, NULL) == 0, "pthread_create");
    free(malloc(100));
    pthread_exit(NULL);
}

/* A thread of the library's own must not keep a process alive whose threads have all ended. */
static void *make_work_for_a_purge(void *unused) {
    static void *blocks[20000];
    struct timespec while_pages_wait = {0, 50000000};
    for (int round = 0; round < 6; round++) {
        for (size_t i = 0; i < LENGTH(blocks); i++) memset(blocks[i] = malloc(2000), 1, 2000);
        for (size_t i = 0; i < LENGTH(blocks); i++) free(blocks[i]);
        nanosleep(&while_pages_wait, NULL);
    }
    say(1, "ok the_last_thread_ends_the_process\n");
    return unused;
}

CASE(the_last_thread_ends_the_process) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, make_work_for_a_purge, NULL) == 0, "pthread_create");
    pthread_exit(NULL);
}
