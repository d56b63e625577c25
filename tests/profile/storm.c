/* Threads that allocate while others open and close libraries, fork, and are interrupted by signals. */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int over;
static void *volatile sink;

static void deep(int depth, unsigned *seed) {
    char block[64];
    memset(block, depth, sizeof block);
    if (depth > 0) {
        deep(depth - 1, seed);
        sink = block;
        return;
    }
    for (int i = 0; i < 50; i++) {
        *seed = *seed * 1103515245u + 12345;
        void *p = malloc(*seed >> 16 & 2047);
        p = realloc(p, *seed >> 20 & 2047 | 1);
        sink = p;
        free(p);
    }
}

static void *allocate(void *arg) {
    unsigned seed = (unsigned)(size_t)arg;
    while (!atomic_load(&over))
        deep(seed >> 24 & 31, &seed);
    return NULL;
}

static void *open_and_close(void *arg) {
    const char *library = arg;
    while (!atomic_load(&over)) {
        void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
        void *(*make)(int) = (void *(*)(int))dlsym(handle, "make");
        if (!make)
            abort();
        free(make(40));
        dlclose(handle);
    }
    return NULL;
}

static void *short_lives(void *arg) {
    (void)arg;
    while (!atomic_load(&over)) {
        pthread_t thread;
        atomic_int *done = malloc(sizeof *done);
        if (pthread_create(&thread, NULL, (void *(*)(void *))malloc, (void *)100))
            abort();
        void *made;
        pthread_join(thread, &made);
        free(made);
        free(done);
    }
    return NULL;
}

static void on_signal(int number) {
    (void)number;
    write(1, "", 0);
}

int main(int argc, char **argv) {
    pthread_t threads[6];
    signal(SIGUSR1, on_signal);
    pthread_create(&threads[0], NULL, allocate, (void *)0x1234567);
    pthread_create(&threads[1], NULL, allocate, (void *)0x7654321);
    pthread_create(&threads[2], NULL, open_and_close, argv[1]);
    pthread_create(&threads[3], NULL, open_and_close, argv[2]);
    pthread_create(&threads[4], NULL, short_lives, NULL);
    for (int i = 0; i < 150; i++) {
        pthread_kill(threads[i % 3], SIGUSR1);
        pid_t child = fork();
        if (child == 0) {
            unsigned seed = i;
            for (int j = 0; j < 20; j++)
                deep(j, &seed);
            _exit(seed == 0xffffffff);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status)
            abort();
    }
    atomic_store(&over, 1);
    for (int i = 0; i < 5; i++)
        pthread_join(threads[i], NULL);
    puts("survived");
    return argc == 0;
}
