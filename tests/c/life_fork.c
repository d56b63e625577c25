/* fork and its relatives, with threads in the middle of every call. */
#include "churn.h"
#include <sched.h>
#include <spawn.h>
#include <sys/syscall.h>

extern char **environ;

/* What a child does: every class, the parent's blocks, a child of its own. */
__attribute__((noreturn)) static void live_as_a_child(struct herd *of_parent, int generations, uint64_t tag) {
    struct herd mine;
    herd_make_of(&mine, tag % 16 ? 70 : HERD, tag);
    free_all_shared("fork: a block of the parent's threads");
    if (generations > 0) {
        pid_t child = fork();
        if (child == 0) live_as_a_child(&mine, generations - 1, tag + 1); /* never returns */
        wait_for(child, "a grandchild");
    }
    herd_free(&mine, "a child's child");
    herd_free(of_parent, "fork: a block of the parent");
    if (tag % 3 == 0) exit(0);
    _exit(0);
}

static void *fork_often(void *argument) {
    size_t forks = (uintptr_t)argument;
    struct herd herd;
    herd_make_of(&herd, SMALL_HERD, 5);
    for (size_t i = 0; i < forks; i++) {
        pid_t child = fork();
        if (child == 0) live_as_a_child(&herd, i % 2, i);
        wait_for(child, "fork");
        if (i % 32 == 0) workout(i, "a fork in the parent");
    }
    herd_free(&herd, "forks");
    return NULL;
}

CASE(fork_storm) {
    pthread_t threads[8];
    start_churn(threads, 8);
    fork_often((void *)how_many("PYMALLOC_FORKS", 500));
    end_churn(threads, 8);
}

CASE(forks_from_several_threads) {
    pthread_t threads[4], forkers[4];
    start_churn(threads, 4);
    size_t forks = how_many("PYMALLOC_FORKS", 160) / 4;
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&forkers[i], NULL, fork_often, (void *)forks) == 0, "pthread_create");
    for (int i = 0; i < 4; i++) pthread_join(forkers[i], NULL);
    end_churn(threads, 4);
}

static void *trim_and_report(void *unused) {
    while (!atomic_load(&stop_churning)) {
        malloc_trim(0);
        mallinfo2();
    }
    return unused;
}

CASE(fork_while_others_trim) {
    pthread_t threads[4], trimmers[2];
    start_churn(threads, 4);
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&trimmers[i], NULL, trim_and_report, NULL) == 0, "pthread_create");
    fork_often((void *)how_many("PYMALLOC_FORKS", 100));
    /* And by a thread, whose child has that thread only. */
    pthread_t forker;
    CHECK(pthread_create(&forker, NULL, fork_often, (void *)how_many("PYMALLOC_FORKS", 100)) == 0, "pthread_create");
    pthread_join(forker, NULL);
    end_churn(threads, 4);
    for (int i = 0; i < 2; i++) pthread_join(trimmers[i], NULL);
}

/* The first malloc of many threads races the first fork. */
CASE(fork_before_anything_else) {
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            pthread_t threads[4];
            atomic_store(&turns, 0);
            for (uintptr_t t = 0; t < 4; t++) pthread_create(&threads[t], NULL, churn, (void *)t);
            pid_t inner = fork();
            if (inner == 0) {
                workout(1, "an early fork");
                _exit(0);
            }
            wait_for(inner, "an early fork");
            end_churn(threads, 4);
            _exit(0);
        }
        wait_for(child, "fork");
    }
}

/* A child made by a thread lives on as a process: its only thread may make threads, and end them. */
static void *child_of_a_thread(void *unused) {
    pid_t child = fork();
    if (child == 0) {
        pthread_t threads[3];
        atomic_store(&turns, 0);
        start_churn(threads, 3);
        end_churn(threads, 3);
        workout(2, "threads in a child");
        pthread_exit(NULL); /* the last thread: ends the process with status 0 */
    }
    wait_for(child, "fork from a thread");
    return unused;
}

CASE(a_child_makes_threads_of_its_own) {
    pthread_t threads[4], forker;
    for (int i = 0; i < 20; i++) {
        atomic_store(&turns, 0);
        start_churn(threads, 4);
        CHECK(pthread_create(&forker, NULL, child_of_a_thread, NULL) == 0, "pthread_create");
        pthread_join(forker, NULL);
        end_churn(threads, 4);
    }
}

/* Children that run no fork handler: they must live when nobody held a lock. */
static pid_t raw_clone(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }

CASE(children_without_fork_handlers) {
    struct herd herd;
    herd_make(&herd, 6);
    pid_t (*fork_)(void) = (pid_t(*)(void))dlsym(RTLD_DEFAULT, "_Fork");
    for (int i = 0; i < 100; i++) {
        pid_t child = i % 2 && fork_ ? fork_() : raw_clone();
        if (child == 0) {
            workout(7, "_Fork or clone");
            herd_free(&herd, "_Fork or clone: a block of the parent");
            _exit(0);
        }
        wait_for(child, "_Fork or clone");
    }
    herd_free(&herd, "_Fork and clone");
}

/* Until it calls exec or _exit the child of vfork is the parent's thread, in the parent's memory. */
CASE(vfork_and_posix_spawn) {
    pthread_t threads[4];
    start_churn(threads, 4);
    for (int i = 0; i < 100; i++) {
        pid_t child = vfork();
        if (child == 0) {
            if (i % 2) execl("/bin/true", "true", (char *)0);
            free(malloc(100));
            _exit(0);
        }
        wait_for(child, "vfork");
        char *arguments[] = {(char *)"true", NULL};
        CHECK(posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ) == 0, "posix_spawn");
        wait_for(child, "posix_spawn");
    }
    FILE *pipe = popen("echo some words; exit 0", "r");
    char line[100];
    CHECK(pipe && fgets(line, sizeof line, pipe) && strcmp(line, "some words\n") == 0, "popen");
    CHECK(pclose(pipe) == 0 && system("true") == 0, "pclose or system");
    end_churn(threads, 4);
    workout(8, "vfork and posix_spawn");
}

CASE(exec_again_and_again) {
    size_t left = how_many("EXECS_LEFT", 20);
    pthread_t threads[4];
    start_churn(threads, 4);
    if (left) {
        char text[20];
        snprintf(text, sizeof text, "%zu", left - 1);
        setenv("EXECS_LEFT", text, 1);
        execl("/proc/self/exe", "life", "exec_again_and_again", (char *)0);
        CHECK(0, "execl: %m");
    }
    end_churn(threads, 4);
}

/* Handlers that take memory themselves, before and after the allocator's own. */
static void *kept[3];
static void prepare(void) { kept[0] = malloc(100), kept[1] = malloc(2000), kept[2] = malloc(MIB); }
static void resume(void) {
    for (int i = 0; i < 3; i++) free(kept[i]);
    struct herd herd;
    herd_make_of(&herd, 40, 9);
    herd_free(&herd, "a fork handler");
}

CASE(fork_handlers_of_others_allocate) {
    pthread_t threads[4];
    for (int i = 0; i < 2; i++) CHECK(pthread_atfork(i ? NULL : prepare, i ? NULL : resume, i ? NULL : resume) == 0, "pthread_atfork");
    start_churn(threads, 4);
    fork_often((void *)how_many("PYMALLOC_FORKS", 60));
    end_churn(threads, 4);
}
