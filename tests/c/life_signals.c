/* Signals that interrupt allocation, handlers that fork, cancellation. */
#include "churn.h"
#include <sys/time.h>

static atomic_int signals_seen;

static void count(int number) {
    int saved = errno;
    volatile char stack[2000];
    for (size_t i = 0; i < sizeof stack; i++) stack[i] = (char)number;
    atomic_fetch_add(&signals_seen, 1);
    errno = saved;
}
static void handle(int number, void (*handler)(int)) {
    struct sigaction action = {0};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(number, &action, NULL) == 0, "sigaction");
}
static void alarm_every(long microseconds) {
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

CASE(signals_interrupt_allocation) {
    pthread_t threads[4];
    handle(SIGALRM, count), handle(SIGUSR1, count);
    start_churn(threads, 4);
    alarm_every(500);
    for (double end = seconds() + 0.7; seconds() < end;) {
        for (int i = 0; i < 4; i++) pthread_kill(threads[i], SIGUSR1);
        uint64_t state = (uint64_t)atomic_load(&signals_seen);
        for (int i = 0; i < 20; i++) churn_once(&state);
    }
    alarm_every(0);
    end_churn(threads, 4);
    CHECK(atomic_load(&signals_seen) > 300, "only %d signals arrived", atomic_load(&signals_seen));
    workout(1, "signals");
}

/* glibc's tst-mallocfork2 and 3: fork in a handler that interrupted malloc. */
static pid_t (*bare_fork)(void);
static void fork_in_handler(int number) {
    int saved = errno, turn = atomic_fetch_add(&signals_seen, 1);
    pid_t child = number == SIGUSR2 || (turn % 2 && bare_fork) ? bare_fork() : fork();
    if (child == 0) _exit(0);
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) _exit(9);
    errno = saved;
}

CASE(a_handler_forks_in_a_process_of_one_thread) {
    bare_fork = (pid_t(*)(void))dlsym(RTLD_DEFAULT, "_Fork");
    handle(SIGALRM, fork_in_handler);
    alarm_every(3000);
    uint64_t state = 7;
    while (atomic_load(&signals_seen) < 200) churn_once(&state);
    alarm_every(0);
    free_all_shared("handlers that fork");
    workout(2, "handlers that fork");
}

/* Beyond glibc, whose fork would wait for the arena lock its own thread holds. */
static void handlers_fork_among_threads(int everywhere) {
    if (!ours()) return;
    pthread_t threads[4];
    sigset_t alarms;
    sigemptyset(&alarms), sigaddset(&alarms, SIGALRM);
    bare_fork = (pid_t(*)(void))dlsym(RTLD_DEFAULT, "_Fork");
    handle(SIGALRM, fork_in_handler);
    if (!everywhere) pthread_sigmask(SIG_BLOCK, &alarms, NULL);
    start_churn(threads, 4);
    pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    alarm_every(4000);
    uint64_t state = 8;
    while (atomic_load(&signals_seen) < 100) churn_once(&state);
    alarm_every(0);
    end_churn(threads, 4);
    workout(3, "handlers that fork among threads");
}
CASE(a_handler_forks_among_threads) { handlers_fork_among_threads(0); }
/* Several at once: one fork holds what another, that interrupted a lock's holder, would wait for. */
CASE(handlers_fork_in_several_threads_at_once) { handlers_fork_among_threads(1); }

/* free, malloc and realloc are no cancellation points: a thread dies where it asks to, never inside. */
static atomic_int died_inside;
static void note_death(void *inside) { atomic_fetch_add(&died_inside, *(volatile int *)inside); }

static void *loop_until_cancelled(void *seed) {
    volatile int inside = 0;
    uint64_t state = (uintptr_t)seed;
    pthread_cleanup_push(note_death, (void *)&inside);
    for (;;) {
        inside = 1;
        for (int i = 0; i < 50; i++) {
            churn_once(&state);
            free(realloc(malloc(i * 100), next_random(&state) % MIB));
        }
        inside = 0;
        pthread_testcancel();
    }
    pthread_cleanup_pop(0);
    return NULL;
}

CASE(cancellation_never_strikes_inside_malloc) {
    for (int round = 0; round < 25; round++) {
        pthread_t threads[8];
        for (uintptr_t i = 0; i < 8; i++) CHECK(pthread_create(&threads[i], NULL, loop_until_cancelled, (void *)(i + 1)) == 0, "pthread_create");
        uint64_t state = (uint64_t)round;
        for (int i = 0; i < 100; i++) churn_once(&state);
        for (int i = 0; i < 8; i++) pthread_cancel(threads[i]);
        for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    }
    CHECK(atomic_load(&died_inside) == 0, "%d threads were cancelled inside malloc or free", atomic_load(&died_inside));
    free_all_shared("cancelled threads");
    workout(4, "cancelled threads");
}

/* glibc's tst-malloc-stats-cancellation: a report may be a cancellation point, but leaves no lock. */
static void *report_until_cancelled(void *unused) {
    for (;;) {
        malloc_stats();
        pthread_testcancel();
    }
    return unused;
}

CASE(a_cancelled_report_leaves_no_lock) {
    int null = open("/dev/null", O_WRONLY), real = dup(2);
    dup2(null, 2);
    for (int round = 0; round < 40; round++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, report_until_cancelled, NULL) == 0, "pthread_create");
        workout(5, "a report");
        pthread_cancel(thread);
        pthread_join(thread, NULL);
        workout(6, "a cancelled report");
        malloc_trim(0), mallinfo2();
    }
    dup2(real, 2);
}
